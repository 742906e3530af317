"""All together: choices from the data, spectra from bins, maps from all pixels."""
