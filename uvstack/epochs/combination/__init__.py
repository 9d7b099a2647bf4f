"""Combining epochs: one grid, one beam, weights of the local noise, mean and median."""
