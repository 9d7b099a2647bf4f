"""The cutout server: tiles of a survey cut, joined, combined and shown in a browser."""
