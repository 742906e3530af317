"""Lines, emission, detector: what the spectra are made of."""
