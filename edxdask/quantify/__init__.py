"""Quantification: line intensities, and from them compositions with errors."""
