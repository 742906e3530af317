"""Multiplicative updates of abundances and spectra: starts, the step of a block, the rounds of the loop."""
