"""Words of mosaics and of the drift of frames: a part of the vocabulary, which ``schema`` takes in.

Other modules use them through ``schema``.
"""

from __future__ import annotations

TILE, PAIR, AXIS = "tile", "pair", "axis"  # of a mosaic: maps, pairs of maps that overlap, y and x
TILE_START, TILE_POSITION = "tile_start", "tile_position"
TILE_ORIGIN, TILE_PIECE = "tile_origin", "tile_piece"
PAIR_FIRST, PAIR_SECOND, PAIR_PIXELS, PAIR_USED = "pair_first", "pair_second", "pair_pixels", "pair_used"
PAIR_SHIFT, PAIR_RESIDUAL, PAIR_CORRELATION = "pair_shift", "pair_residual", "pair_correlation"
TILE_SIZE, DRIFT = "tile_size", "drift"

FIELD_INDEX, FIELD_Y, FIELD_X = "field_index", "field_y", "field_x"
STAGE_Y, STAGE_X, PLACED_BY = "stage_y_nm", "stage_x_nm", "placed_by"
BAD_FRAMES, DRIFT_IMAGE = "bad_frames", "drift_image"

_FRAME = "frame"
# name, dimensions, kind, units, meaning; none has pixels
PLACEMENT_WORDS: tuple[tuple[str, tuple[str, ...], str, str, str], ...] = (
    (TILE_START, (TILE, AXIS), "f", "px", "where a map was said to begin"),
    (TILE_POSITION, (TILE, AXIS), "f", "px", "where a map begins on the mosaic"),
    (TILE_ORIGIN, (TILE, AXIS), "i", "px", "whole pixel that its counts begin at"),
    (TILE_SIZE, (TILE, AXIS), "i", "px", "rows and columns of a map"),
    (TILE_PIECE, (TILE,), "i", "1", "number of the connected piece it belongs to"),
    (PAIR_FIRST, (PAIR,), "U", "1", "first map of a pair"),
    (PAIR_SECOND, (PAIR,), "U", "1", "second map of a pair"),
    (PAIR_SHIFT, (PAIR, AXIS), "f", "px", "of the second map from the first, measured"),
    (PAIR_RESIDUAL, (PAIR, AXIS), "f", "px", "shift minus that of the mosaic"),
    (PAIR_CORRELATION, (PAIR,), "f", "1", "correlation of the two images"),
    (PAIR_PIXELS, (PAIR,), "i", "1", "pixels that the two maps have in common"),
    (PAIR_USED, (PAIR,), "b", "1", "whether the pair took part in the placement"),
    (DRIFT, (_FRAME, AXIS), "f", "px", "move of the sample since the first frame"),
)
# of each pixel: name, units, meaning
FIELD_WORDS: tuple[tuple[str, str, str], ...] = (
    (FIELD_INDEX, "1", "number of the field that a pixel was taken in"),
    (FIELD_Y, "px", "row of a pixel within its field"),
    (FIELD_X, "px", "column of a pixel within its field"),
)
PLACEMENT_ATTRIBUTES: tuple[tuple[str, type, str], ...] = (
    (STAGE_Y, float, "where the stage was, along the one of its axes that is nearest to y"),
    (STAGE_X, float, "where the stage was, along the one nearest to x"),
    (PLACED_BY, str, "image that the maps of a mosaic were registered on"),
    (BAD_FRAMES, list, "frames that do not show what the others show, or are off the path"),
    (DRIFT_IMAGE, str, "image that frames were registered on, or photons"),
)
