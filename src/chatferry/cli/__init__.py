"""The command line: `main` and `admin` have the commands, the other files what they do."""
