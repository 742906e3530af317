"""One energy axis for maps whose axes differ: whole photons move at random within their channels.

Shared spectra need one axis. Counts that are divided between channels are no longer Poisson (their deviance
is 0.77 per channel instead of 1). Where each photon takes a random place within its channel they stay
Poisson, and peaks widen by less than a channel, which a fit of the width takes in.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from edxdask.errors import ParameterError
from edxdask.ops._blocks import derived_attrs, flat_counts, lazy_counts, sum_dtype
from edxdask.ops.usable import usable_spectrum
from edxdask.photons.kernels.energy import move_photons
from edxdask.physics.conditions import Conditions
from edxdask.physics.energy_axis import EnergyAxis, check_axis
from edxdask.physics.find import find_in_spectrum
from edxdask.physics.lines import checked_elements
from edxdask.results.collections import Data, cubes_in, joined
from edxdask.schema import COUNTS, ENERGY, FWHM, energy_axis, energy_coordinate, validate_cube

FIND = "find"  # in place of elements
SAME = 1e-3  # of a channel: axes that differ by less are one


@dataclass(frozen=True)
class Channels:
    """An energy axis: keV of the first channel's centre, step, number of channels."""

    offset: float
    scale: float
    number: int

    @classmethod
    def of(cls, cube: xr.Dataset) -> Channels:
        """Axis of a cube."""
        return cls(*energy_axis(cube), cube.sizes[ENERGY])

    def same_as(self, other: Channels) -> bool:
        """Whether both have the same channels, to a thousandth of one."""
        apart = self.offset - other.offset, (self.scale - other.scale) * (self.number - 1)
        far = max(abs(apart[0]), abs(apart[0] + apart[1]))
        return self.number == other.number and far < SAME * self.scale


@dataclass(frozen=True, eq=False)
class Measured:
    """A map with the energies of the edges of its channels."""

    cube: xr.Dataset
    edges: np.ndarray
    axis: EnergyAxis | None

    @classmethod
    def of(cls, cube: xr.Dataset, name: str, elements: tuple[str, ...] | None) -> Measured:
        """Take the axis as it is, or refine it on the map's own sum spectrum."""
        own = Channels.of(cube)
        edges = own.offset + (np.arange(own.number + 1) - 0.5) * own.scale
        if elements is None:
            return cls(cube, edges, None)
        conditions = Conditions.of(cube.attrs)
        axis = find_in_spectrum(
            usable_spectrum(cube).counts.astype(np.float64),
            np.asarray(cube[ENERGY].values, dtype=np.float64),
            beam_energy=conditions.beam_energy,
            axis=EnergyAxis(fwhm_mn_ka_ev=conditions.fwhm_mn_ka_ev),
            known=elements,
        ).axis
        check_axis(axis, f"This is map {name!r}." if name else "")
        return cls(cube, axis.energy(edges), axis)

    @property
    def step(self) -> float:
        """Mean width of a channel, keV."""
        return float(self.edges[-1] - self.edges[0]) / (self.edges.size - 1)


def rebin_energy(
    data: Data,
    *,
    like: xr.Dataset | None = None,
    elements: Sequence[str] | str | None = None,
    seed: int = 0,
) -> Data:
    """Put maps on one energy axis; whole photons move, each to a random place within its channel.

    Factorizations with shared spectra need one axis for all maps of a collection. Where axes are off by some
    eV from map to map, name the elements: each map's axis is then refined first, by its own sum spectrum.

    Parameters
    ----------
    data : Dataset or DataTree
        Collection of cubes, or one cube with ``like``.
    like : Dataset, optional
        Cube that has the axis to use. None: the coarsest step of all maps, over the energies that all of
        them have.
    elements : list of str, optional
        Elements of the sample, or "find" to find them: offset, gain, width and bends of each map's axis are
        found as guided factorization finds them. None takes the axes as they are.
    seed : int
        Of the random places; same seed, same photons, for any chunks and any order of the maps.

    Returns
    -------
    Dataset or DataTree
        The maps on one axis, lazy. Photons beyond its ends are left out, all others are kept. A map that has
        this axis already is not changed.

    Raises
    ------
    ParameterError
        If the maps have no energies in common, or a single cube is given without ``like`` and ``elements``.

    Notes
    -----
    *Chunks.* Any; where the energy axis is cut, a task takes the chunks of a pixel's whole spectrum. Chunks
    of pixels stay. With ``elements`` **this operation computes**: one read of the counts.

    Examples
    --------
    >>> import edxdask
    >>> one = edxdask.simulate(shape=(6, 6), counts=50, channels=400)
    >>> other = edxdask.simulate(shape=(4, 8), counts=50, channels=300, energy_scale=0.012)
    >>> both = rebin_energy(edxdask.collect({"one": one, "other": other}))
    >>> both["one"].sizes["energy"], bool((both["one"].energy == both["other"].energy).all())
    (299, True)
    """
    cubes = {name: validate_cube(cube, name=name or "data") for name, cube in cubes_in(data).items()}
    if len(cubes) == 1 and like is None and elements is None:
        fix = "Name the elements to refine its axis, or give a cube with like=."
        raise ParameterError("data", "one cube", "a collection, or a cube beside like or elements", fix)
    names = None if elements is None else () if elements == FIND else checked_elements(elements)
    measured = {name: Measured.of(cube, name, names) for name, cube in cubes.items()}
    target = _common(measured) if like is None else Channels.of(validate_cube(like, name="like"))
    moved = {name: _moved(one, target, _seed_of(name, seed)) for name, one in measured.items()}
    return joined(moved, data)


def _seed_of(name: str, seed: int) -> int:
    """Seed of one map: by its name, so that the order of maps does not matter."""
    return (seed << 32) + zlib.crc32(name.encode())


def _common(measured: Mapping[str, Measured]) -> Channels:
    """Axis with the coarsest step over the energies that all maps have, whatever the order of the maps."""
    low = {name: float(one.edges[0]) for name, one in measured.items()}
    high = {name: float(one.edges[-1]) for name, one in measured.items()}
    scale = max(one.step for one in measured.values())
    first, last = max(low.values()), min(high.values())
    number = int((last - first) / scale + SAME)
    if number < 1:
        a, b = max(low, key=lambda n: low[n]), min(high, key=lambda n: high[n])
        raise ParameterError(
            "data",
            f"map {a!r} from {low[a]:.4g} keV on, map {b!r} up to {high[b]:.4g} keV",
            "maps with energies in common",
        )
    return Channels(first + scale / 2, scale, number)


def _moved(measured: Measured, target: Channels, seed: int) -> xr.Dataset:
    """One map on the new axis."""
    cube, axis = measured.cube, measured.axis
    if axis is None and Channels.of(cube).same_as(target):
        return cube
    places = (measured.edges - (target.offset - target.scale / 2)) / target.scale
    counts = lazy_counts(cube)
    if counts.numblocks[-1] > 1:
        counts = counts.rechunk({counts.ndim - 1: -1})
    dtype = sum_dtype(counts.dtype, int(np.ceil(target.scale / measured.step)) + 1)
    moved = da.map_blocks(
        _moved_block,
        counts,
        places=places,
        seed=seed,
        shape=cube[COUNTS].shape[:-1],
        out_dtype=dtype,
        channels=target.number,
        chunks=(*counts.chunks[:-1], (target.number,)),
        dtype=dtype,
        meta=np.empty((0,) * counts.ndim, dtype=dtype),
    )
    spectral = [n for n, v in cube.variables.items() if ENERGY in v.dims and n != COUNTS]
    rest = cube.drop_vars([COUNTS, *spectral])
    new = xr.Variable(cube[COUNTS].dims, moved, cube[COUNTS].attrs)
    coordinate = energy_coordinate(target.offset, target.scale, target.number)
    out = rest.assign({COUNTS: new}).assign_coords({ENERGY: coordinate})
    out.attrs = derived_attrs(
        cube, _entry(measured, target), {} if axis is None else {FWHM: axis.fwhm_mn_ka_ev}
    )
    return validate_cube(out, name="the map on the new axis")


def _entry(measured: Measured, target: Channels) -> str:
    axis = measured.axis
    how = ""
    if axis is not None:
        how = f"axis refined by {1e3 * axis.offset_kev:+.2f} eV and {100 * (axis.gain - 1):+.3f} %, then "
    return (
        f"{how}rebin_energy to {target.number} channels, {target.offset:.6g} + i × {target.scale:.6g} keV: "
        "whole photons, those beyond the ends left out"
    )


def _moved_block(
    block: np.ndarray,
    places: np.ndarray,
    seed: int,
    shape: tuple[int, ...],
    out_dtype: np.dtype,
    channels: int,
    block_info: Any = None,
) -> np.ndarray:
    where = block_info[0]["array-location"][:-1]
    grid = np.meshgrid(*(np.arange(a, b) for a, b in where), indexing="ij")
    index = np.ravel_multi_index(grid, shape).ravel().astype(np.int64)
    out = np.zeros((index.size, channels), dtype=out_dtype)
    move_photons(flat_counts(block), index, np.uint64(seed % 2**64), places[:-1], places[1:], out)
    return out.reshape(*block.shape[:-1], channels)
