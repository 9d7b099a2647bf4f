"""The stack of a list, and a fit to it."""
