"""Convolutions as matrix products and by Winograd's transform, for speed on CPU."""
