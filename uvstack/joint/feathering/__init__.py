"""Feathering: a single dish's image and an interferometer's, joined in the uv plane."""
