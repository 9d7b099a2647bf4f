"""Simulated measurement sets with a known truth."""
