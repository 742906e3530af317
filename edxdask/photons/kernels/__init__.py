"""Numba kernels: one fused loop each, no allocation and no Python per pixel."""
