"""Dataset to Dataset, lazily: bin, crop, calibrate, spectra, maps, masks."""
