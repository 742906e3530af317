"""Numba kernels of the factorizations: arrays in, arrays out."""
