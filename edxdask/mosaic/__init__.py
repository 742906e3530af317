"""Maps that are parts of one landscape: where each belongs, and the canvas that they make together.

``images`` brings images to the grid of their maps; ``registration`` measures the shift of a pair; ``starts``
says where maps begin before anything is measured; ``placement`` finds the positions that all pairs agree on;
``canvas`` assembles lazy arrays; ``assembly`` makes the mosaic of cubes or results from them. ``drift``, and
the modules named after it, align the frames of one map.
"""

from edxdask.mosaic.drift import align_frames

__all__ = ["align_frames"]
