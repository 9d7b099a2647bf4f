"""Sources of images: noise, islands, moments, fits, their errors and what follows from them."""
