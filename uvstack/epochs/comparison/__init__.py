"""Comparison: fluxes and places of the sources of each epoch against those of the combined map."""
