"""The playground: a page with phones on it, the platforms behind them, and a bot that can be tried and tormented.

`demo` plays with our own gateway, which runs as a process of its own, unchanged; `simulate` with anybody's bot.
"""
