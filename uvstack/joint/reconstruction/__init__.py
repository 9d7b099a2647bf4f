"""Joint deconvolution of single-dish and interferometer data (Rau, Naik & Braun 2019)."""
