"""The command line: `python -m framework COMMAND`."""
