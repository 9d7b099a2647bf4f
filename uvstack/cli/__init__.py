"""The command line: options become the keyword arguments of one task."""
