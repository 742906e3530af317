"""Phantoms with known truth, of any size, chunk by chunk."""
