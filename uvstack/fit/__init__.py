"""Model fitting to visibilities."""
