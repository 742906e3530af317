"""Connected particles of a thresholded volume, found layer by layer: sizes, places, surfaces."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from edxdask.results.voxels import VoxelGrid, layer_axis, pieces_of

SPHERE_POINTS = 20_000  # that the directions of a voxel's neighbours divide among them

# Half of the 26 neighbours: each pair of neighbours is met once.
DIRECTIONS = tuple(d for d in itertools.product((-1, 0, 1), repeat=3) if d > (0, 0, 0))


@dataclass(frozen=True, eq=False)
class Particles:
    """Connected particles of one phase, the largest first.

    Attributes
    ----------
    voxels : ndarray
        Voxels of each.
    centre : ndarray
        Mean place (particle, 3) along z, y and x, in voxels.
    surface : ndarray
        Surface of each, in squares of the unit; what lies on the edge of the volume is not counted.
    cut : ndarray
        Whether each touches the edge of the volume.
    amount : float
        Sum of the phase over all voxels.
    inside : int
        Voxels at or above the threshold.
    total_surface : float
        Surface of all particles.
    """

    voxels: np.ndarray
    centre: np.ndarray
    surface: np.ndarray
    cut: np.ndarray
    amount: float
    inside: int
    total_surface: float


@dataclass(eq=False)
class _Found:
    """What the pieces said so far, by number of a part of a particle; parts are joined at the end."""

    grid: VoxelGrid
    axis: int
    weights: np.ndarray
    parts: int = 0
    amount: float = 0.0
    voxels: list[np.ndarray] = field(default_factory=list)
    places: list[np.ndarray] = field(default_factory=list)
    cut: list[np.ndarray] = field(default_factory=list)
    crossings: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)  # parts, surface
    joined: list[np.ndarray] = field(default_factory=list)  # pairs of parts
    before: np.ndarray | None = None  # numbers in the last layer of the piece before


def particles_of(
    volume: xr.DataArray,
    grid: VoxelGrid,
    threshold: float,
    *,
    report: Callable[[int], None] | None = None,
) -> Particles:
    """Find connected particles of one phase: voxels at or above ``threshold`` that share faces.

    The surface follows from the pairs of neighbours of which one is inside, in 13 directions, each weighted
    by the solid angle it stands for (Cauchy and Crofton; Ohser and Mücklich 2000, section 5.3), so it has
    neither the steps of voxels nor the noise of fractions.

    Parameters
    ----------
    volume : DataArray
        One phase (z, y, x).
    grid : VoxelGrid
        Its voxels.
    threshold : float
        Least value inside.
    report : callable, optional
        Called with the voxels that are done.

    Notes
    -----
    *Chunks*: each is read once; one layer of chunks is in memory.
    """
    axis = layer_axis([volume])
    found = _Found(grid, axis, crofton_weights(grid.sides))
    layers, done = volume.shape[axis], 0
    for first, (values,) in pieces_of([volume], axis):
        found.amount += float(values.sum(dtype=np.float64))
        _add_piece(found, values >= threshold, first, layers)
        done += values.size
        if report is not None:
            report(done)
    return _joined(found)


def crofton_weights(sides: tuple[float, float, float]) -> np.ndarray:
    """Surface that one crossing in each direction of ``DIRECTIONS`` stands for.

    Examples
    --------
    >>> weights = crofton_weights((1.0, 1.0, 1.0))
    >>> weights[DIRECTIONS.index((0, 0, 1))].round(3)  # 2 × 9.2 % of the sphere
    np.float64(0.183)
    """
    steps = np.array(DIRECTIONS) * np.array(sides)
    lengths = np.linalg.norm(steps, axis=1)
    units = steps / lengths[:, None]
    turn = np.pi * (3 - np.sqrt(5.0))  # points on a spiral from pole to pole, equally dense
    height = 1 - 2 * (np.arange(SPHERE_POINTS) + 0.5) / SPHERE_POINTS
    around = turn * np.arange(SPHERE_POINTS)
    across = np.sqrt(1 - height**2)
    points = np.stack([across * np.cos(around), across * np.sin(around), height], axis=1)
    nearest = np.argmax(np.abs(points @ units.T), axis=1)
    fractions = np.bincount(nearest, minlength=len(DIRECTIONS)) / SPHERE_POINTS
    weights: np.ndarray = 2 * float(np.prod(sides)) * fractions / lengths
    return weights


def _add_piece(found: _Found, inside: np.ndarray, first: int, layers: int) -> None:
    """Label the parts of particles in a piece, whose first axis is that of the layers, and measure them."""
    labels, count = ndimage.label(inside)
    numbers = np.where(labels > 0, labels.astype(np.int64) + found.parts, 0)  # from 1 over all pieces
    flat = np.flatnonzero(labels)
    owner = labels.ravel()[flat] - 1
    found.voxels.append(np.bincount(owner, minlength=count))
    places = np.unravel_index(flat, labels.shape)
    order = [found.axis, *(a for a in range(3) if a != found.axis)]
    sums = np.empty((count, 3))
    for place, axis in zip(places, order, strict=True):
        offset = first if axis == found.axis else 0
        sums[:, axis] = np.bincount(owner, weights=place + offset, minlength=count)
    found.places.append(sums)
    found.cut.append(_on_edge(labels, count, first, layers))
    if found.before is not None:
        both = np.stack([found.before.ravel(), numbers[0].ravel()])
        found.joined.append(np.unique(both[:, (both > 0).all(axis=0)], axis=1))
    for direction, weight in zip(DIRECTIONS, found.weights, strict=True):
        turned = tuple(direction[axis] for axis in order)
        found.crossings.append(_crossings(found.before, numbers, turned, weight))
    found.before = numbers[-1].copy()
    found.parts += count


def _on_edge(labels: np.ndarray, count: int, first: int, layers: int) -> np.ndarray:
    faces = [labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]]
    faces += [labels[0]] if first == 0 else []
    faces += [labels[-1]] if first + len(labels) == layers else []
    cut = np.zeros(count + 1, bool)
    for face in faces:
        cut[np.unique(face)] = True
    return cut[1:]


def _crossings(
    before: np.ndarray | None, numbers: np.ndarray, direction: tuple[int, ...], weight: float
) -> tuple[np.ndarray, np.ndarray]:
    """Surface in one direction, by part: neighbours of which one is inside."""
    if direction[0] < 0:
        direction = tuple(-step for step in direction)
    stack = numbers
    if direction[0]:
        stack = numbers if before is None else np.concatenate([before[None], numbers])
    here, there = (
        tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(steps, stack.shape, strict=True))
        for steps in (direction, tuple(-step for step in direction))
    )
    a, b = stack[here], stack[there]
    crossed = (a > 0) != (b > 0)
    parts, times = np.unique(a[crossed] + b[crossed], return_counts=True)
    return parts - 1, weight * times


def _joined(found: _Found) -> Particles:
    """Join parts that touch across pieces, and sort particles by size."""
    count = found.parts
    pairs = np.concatenate([*found.joined, np.empty((2, 0), np.int64)], axis=1) - 1
    links = coo_array((np.ones(pairs.shape[1], np.int8), tuple(pairs)), shape=(count, count))
    particles, whole = connected_components(links, directed=False) if count else (0, np.empty(0, int))
    voxels_of = np.concatenate([*found.voxels, np.empty(0, np.int64)])
    voxels = np.bincount(whole, weights=voxels_of, minlength=particles).astype(np.int64)
    places = np.concatenate([*found.places, np.empty((0, 3))])
    centre = np.stack([np.bincount(whole, weights=p, minlength=particles) for p in places.T], axis=1)
    surface = np.zeros(particles)
    for parts, amount in found.crossings:
        surface += np.bincount(whole[parts], weights=amount, minlength=particles)
    cut = np.bincount(whole, weights=np.concatenate([*found.cut, np.empty(0)]), minlength=particles) > 0
    order = np.argsort(-voxels, kind="stable")
    return Particles(
        voxels[order],
        (centre / np.maximum(voxels, 1)[:, None])[order],
        surface[order],
        cut[order],
        found.amount,
        int(voxels.sum()),
        float(surface.sum()),
    )
