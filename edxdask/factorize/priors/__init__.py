"""Spatial priors: maps of known spectra by penalised likelihood."""
