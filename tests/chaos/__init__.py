"""Everything at once: many processes, all channels, and a schedule of faults. `python -m tests.chaos --help`."""
