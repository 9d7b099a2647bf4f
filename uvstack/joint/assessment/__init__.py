"""Assessment: what a dish and an interferometer have in common, how to weigh them, how good a joint image is."""
