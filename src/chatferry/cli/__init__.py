"""The command line: `main` has the commands, each other file what one of them does."""
