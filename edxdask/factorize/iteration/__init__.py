"""Spectra and abundances found in turn: starts, the step of a block, rounds until nothing is gained."""
