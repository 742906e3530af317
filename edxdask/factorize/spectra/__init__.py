"""What a spectrum may be: of any shape, what the detector resolves, or made of what elements emit."""
