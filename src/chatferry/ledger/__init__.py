"""The ledger: what was accepted, answered and sent, and all that is kept beside it. `ledger.Ledger` is the way in."""
