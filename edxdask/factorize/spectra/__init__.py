"""Kinds of spectra: free, limited to what the detector resolves, or made of what elements emit."""
