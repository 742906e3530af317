"""Numba kernels of quantification: arrays in, arrays out."""
