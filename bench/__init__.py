"""Measurements, a command each: `python -m bench` runs all of them, `python -m bench NAME ...` some.

The gateway is measured as people run it: `chatferry serve` in a process of its own, with everything else (load, LINE,
model) in others on the same machine. Figures: RESULTS.md.
"""
