"""Synthetic webcams: a label database and pictures, made on the spot."""
