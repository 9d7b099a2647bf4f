"""Maps of the spectral index from Taylor terms of several epochs."""
