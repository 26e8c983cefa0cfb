"""`python -m chatferry`."""

from chatferry.cli.main import main

main()
