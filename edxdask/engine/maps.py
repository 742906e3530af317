"""Cubes and collections as the engine uses them: valid maps on one energy axis, their pixels numbered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from uuid import uuid4

import dask.array as da
import numpy as np
import xarray as xr
from dask.array.core import normalize_chunks, slices_from_chunks

from edxdask import schema
from edxdask.engine.layout import ImageStack, TilePlan, stack_of
from edxdask.results.collections import check_same_axis, cubes_in

AXIS_ADVICE = (
    "shared spectra need one axis: edxdask.rebin_energy(maps) or `edxdask rebin` moves whole photons to one, "
    "also where axes must be calibrated first"
)
PIECE_BYTES = 64 * 2**20  # dense bytes decoded at once; one stored chunk of 4096 channels is 32 MiB


@dataclass(frozen=True)
class MapView:
    """One map as the engine sees it; ``place`` is where the user has it among the maps."""

    name: str
    cube: xr.Dataset
    stack: ImageStack
    place: int = 0

    @cached_property
    def counts(self) -> da.Array:
        """Lazy counts as ``(images, rows, width, energy)``; dense arrays in memory become lazy here."""
        data = self.cube[schema.COUNTS].data
        if isinstance(data, da.Array):
            return data
        rows = max(1, PIECE_BYTES // max(1, data[..., :1, :, :].nbytes)) if data.ndim > 2 else -1
        chunks = (-1,) * data.ndim if data.ndim < 3 else (*(1,) * (data.ndim - 3), rows, -1, -1)
        return _views(np.asarray(data), normalize_chunks(chunks, data.shape, dtype=data.dtype))


def _views(data: np.ndarray, chunks: tuple[tuple[int, ...], ...]) -> da.Array:
    """Lazy array of views of ``data``; ``dask.array.from_array`` would copy it whole."""
    name = f"counts-{uuid4().hex}"
    places = product(*(range(len(lengths)) for lengths in chunks))
    graph = {
        (name, *place): data[where] for place, where in zip(places, slices_from_chunks(chunks), strict=True)
    }
    return da.Array(graph, name, chunks, dtype=data.dtype)


def maps_of(data: xr.Dataset | xr.DataTree) -> list[MapView]:
    """List the valid maps of a cube or collection, numbered through, on one energy axis.

    They are numbered by name: sums then have one order, and results do not depend on that of the collection.
    """
    named = cubes_in(data)
    views: list[MapView] = []
    first = 0
    cubes = {name: schema.validate_cube(cube, name=name or "data") for name, cube in named.items()}
    check_same_axis(cubes, AXIS_ADVICE)
    places = {name: place for place, name in enumerate(cubes)}
    for name, cube in sorted(cubes.items()):
        view = MapView(name, cube, ImageStack(0, 0, 0, 0, ()))
        counts = view.counts
        row_bytes = counts[..., :1, :, :].nbytes if counts.ndim > 2 else counts.nbytes
        widest = max(counts.chunks[-2])
        piece_row = max(1, row_bytes * widest // counts.shape[-2])
        stack = stack_of(counts.shape[:-1], counts.chunks[:-1], first, max(1, PIECE_BYTES // piece_row))
        views.append(MapView(name, cube, stack, places[name]))
        first += stack.pixels
    return views


def sharpest_width(maps: Sequence[MapView]) -> float | None:
    """Smallest width at Mn Kα (eV) that any map states; None where none does."""
    widths = [view.cube.attrs.get(schema.FWHM) for view in maps]
    return min((float(width) for width in widths if width is not None), default=None)


def tile_array(view: MapView, tile: TilePlan) -> da.Array:
    """Lazy ``(rows, width, energy)`` counts of a tile."""
    counts = view.counts
    if counts.ndim == 2:
        return counts[None]
    image = np.unravel_index(tile.image, counts.shape[:-3]) if counts.ndim > 3 else ()
    return counts[(*map(int, image), slice(tile.first_row, tile.first_row + tile.rows))]
