"""Numba kernels of the viewer: arrays in, arrays out."""
