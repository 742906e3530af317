"""Pan-sharpening: spectra from bins, then maps from all pixels; what is not given is chosen from the data."""
