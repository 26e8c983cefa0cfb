"""The other side of the wire: platforms and model providers as small real HTTP servers.

For people without accounts and for tests. Nothing here imports the gateway: a simulator that shared its code
would share its mistakes.
"""
