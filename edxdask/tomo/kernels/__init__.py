"""Kernels of tomography: arrays in, arrays out."""
