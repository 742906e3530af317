"""Maps of known spectra, smooth where the photons allow it: penalised likelihood."""
