"""Results: from factors in partitions to labelled Datasets, one for a cube, a DataTree for a collection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask._version import __version__
from edxdask.results.check import check_labels, check_result
from edxdask.results.collections import ALONE


class Pixels(Protocol):
    """Where the pixels of one map are among those of all maps."""

    @property
    def first_pixel(self) -> int:
        """Number of the map's first pixel."""
        ...

    @property
    def pixels(self) -> int:
        """Number of pixels of the map."""
        ...


class FactorizedMap(Protocol):
    """One map that was factorized: its name and place in the collection, its cube, its pixels."""

    @property
    def place(self) -> int:
        """Where the user has it among the maps."""
        ...

    @property
    def name(self) -> str:
        """Path in the collection."""
        ...

    @property
    def cube(self) -> xr.Dataset:
        """Counts and coordinates."""
        ...

    @property
    def stack(self) -> Pixels:
        """Numbers of its pixels."""
        ...


def make_result(
    factorized: Sequence[FactorizedMap],
    spectra: np.ndarray,
    abundance: np.ndarray,
    objectives: np.ndarray,
    *,
    phases: Sequence[str] | None = None,
    attrs: Mapping[str, Any],
    entry: str,
    warnings: Sequence[str] = (),
    without_photons: tuple[np.ndarray, np.ndarray] | None = None,
) -> xr.Dataset | xr.DataTree:
    """Label the factors: spectra that sum to 1, fractions that sum to 1, biggest phase first.

    Parameters
    ----------
    factorized : sequence of FactorizedMap
        Maps that were factorized, in the order of their pixels.
    spectra : array
        Spectra (k, E) in any scale.
    abundance : array
        Abundances (pixels, k), scaled so that ``abundance @ spectra`` are counts; this
        function changes it in place.
    objectives : array
        Loss of all iterations, NaN where it was not computed: these are left out, but for the last.
    phases : sequence of str, optional
        Labels; given labels keep their order.
    attrs : mapping
        Attributes of the result.
    entry : str
        Line of its history.
    warnings : sequence of str
        What a person should know of the data; beside the warnings of ``attrs``.
    without_photons : pair of arrays, optional
        Numbers of pixels without photons, and their fractions (n, k), where something is known of them; they
        stay without photons.
    """
    if warnings:
        attrs = {**attrs, schema.WARNINGS: [*attrs.get(schema.WARNINGS, []), *warnings]}
    if phases is not None:
        check_labels(phases, name="phases")
    sums = spectra.sum(axis=1, dtype=np.float64)
    safe = np.where(sums > 0, sums, 1.0)
    unit = spectra.astype(np.float64) / safe[:, None]
    counts = abundance  # of a large map, the largest array there is: scaled where it is
    counts *= sums.astype(abundance.dtype)
    order = np.arange(len(unit))
    if phases is None:
        order = np.argsort(-counts.sum(axis=0, dtype=np.float64), kind="stable")
        unit = unit[order]
        phases = [f"phase_{i}" for i in range(len(unit))]
    seen = np.union1d(np.flatnonzero(~np.isnan(objectives)), len(objectives) - 1)
    energy = factorized[0].cube.coords[schema.ENERGY]
    shared = xr.Dataset(
        {
            schema.SPECTRUM: ((schema.PHASE, schema.ENERGY), unit, schema.variable_attrs(schema.SPECTRUM)),
            schema.OBJECTIVE: (schema.ITERATION, objectives[seen], schema.variable_attrs(schema.OBJECTIVE)),
        },
        coords={
            schema.ENERGY: energy.variable,
            schema.PHASE: list(phases),
            schema.ITERATION: seen,
        },
        attrs=_attrs(factorized[0], attrs, entry),
    )
    maps = [_map_result(view, counts, order, phases, attrs, entry) for view in factorized]
    if without_photons is not None:
        for view, one in zip(factorized, maps, strict=True):
            _fill(one[schema.ABUNDANCE].values, view.stack, without_photons[0], without_photons[1][:, order])
    result: xr.Dataset | xr.DataTree
    if factorized[0].name == ALONE:
        result = xr.merge([shared, maps[0]], combine_attrs="override", compat="no_conflicts")
    else:
        placed = sorted(zip(factorized, maps, strict=True), key=lambda made: made[0].place)
        by_name = {view.name: one for view, one in placed}
        result = xr.DataTree.from_dict({"/": shared, **by_name})
    check_result(result, whole=True)
    return result


def _map_result(
    view: FactorizedMap,
    counts: np.ndarray,
    order: np.ndarray,
    phases: Iterable[str],
    attrs: Mapping[str, Any],
    entry: str,
) -> xr.Dataset:
    pixels = schema.pixel_dims(view.cube)
    shape = tuple(view.cube.sizes[d] for d in pixels)
    mine = counts[view.stack.first_pixel : view.stack.first_pixel + view.stack.pixels]
    total = mine.sum(axis=1, dtype=np.float64)
    labels = list(phases)
    maps = np.zeros((len(labels), *shape), counts.dtype)
    for fractions, column in zip(maps.reshape(len(labels), -1), order, strict=True):
        np.divide(mine[:, column], total, out=fractions, where=total > 0, casting="same_kind")
    coords = {name: view.cube.coords[name] for name in pixels if name in view.cube.coords}
    return xr.Dataset(
        {
            schema.ABUNDANCE: ((schema.PHASE, *pixels), maps, schema.variable_attrs(schema.ABUNDANCE)),
            schema.TOTAL: (pixels, total.reshape(shape), schema.variable_attrs(schema.TOTAL)),
        },
        coords={**coords, schema.PHASE: labels},
        attrs=_attrs(view, attrs, entry),
    )


def _fill(maps: np.ndarray, stack: Pixels, pixels: np.ndarray, fractions: np.ndarray) -> None:
    """Write the fractions of pixels without photons into the maps of their map, in place."""
    mine = (pixels >= stack.first_pixel) & (pixels < stack.first_pixel + stack.pixels)
    maps.reshape(len(maps), -1)[:, pixels[mine] - stack.first_pixel] = fractions[mine].T


def _attrs(view: FactorizedMap, attrs: Mapping[str, Any], entry: str) -> dict[Any, Any]:
    kept = {k: v for k, v in view.cube.attrs.items() if k in schema.ATTRIBUTES and k != schema.COMPLETE}
    return {**schema.with_history(kept, entry), **attrs, schema.EDXDASK_VERSION: __version__}
