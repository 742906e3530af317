"""Numba kernels of figures: arrays in, arrays out."""
