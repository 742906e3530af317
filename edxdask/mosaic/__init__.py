"""Neighbouring maps and frames of one map, put in place."""

from edxdask.mosaic.drift import align_frames

__all__ = ["align_frames"]
