"""X-ray physics: line energies, emission, detector, absorption, continuum and whole spectra; arrays only."""
