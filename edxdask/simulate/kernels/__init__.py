"""Kernels of the simulation: grains, smooth noise, photons."""
