"""Phantoms with known truth, of any size, drawn chunk by chunk."""

from edxdask.simulate.cube import simulate

__all__ = ["simulate"]
