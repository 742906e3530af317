"""Kernels of the vendor readers: bytes and numbers in, arrays out."""
