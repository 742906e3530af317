"""Solids of a phantom in space: where they are, and what rays and voxels have of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edxdask.simulate.grains import random_table
from edxdask.simulate.kernels.solids import fill_voxels, is_inside, project_solids

RAYS = 4  # a side of a pixel: the mean thickness of a sphere's rim pixels is right to 1 %
POINTS = 4  # a side of a voxel
NO_PARENT = -1
MOST_TRIES = 400  # places tried for a solid before all are made smaller
SMALLER = 0.95


@dataclass(frozen=True, eq=False)
class Solids:
    """Convex solids, parents before children; coordinates (z, y, x) in voxels from the middle.

    Attributes
    ----------
    centres : (solid, 3)
    quadrics : (solid, 2, 3, 3)
    planes : (solid, plane, 4)
    phases, parents : (solid,)
    reach : (solid,), radius of a sphere about the centre that holds the solid
    """

    centres: np.ndarray
    quadrics: np.ndarray
    planes: np.ndarray
    phases: np.ndarray
    parents: np.ndarray
    reach: np.ndarray

    @property
    def tables(self) -> tuple[np.ndarray, ...]:
        """All arrays, as kernels take them."""
        return (self.centres, self.quadrics, self.planes, self.phases, self.parents, self.reach)

    def project(
        self,
        rows: np.ndarray,
        columns: np.ndarray,
        *,
        phases: int,
        middle: tuple[float, float],
        tilt_deg: float,
        shift: tuple[float, float] = (0.0, 0.0),
        rotation_deg: float = 0.0,
    ) -> np.ndarray:
        """Mean length of the rays of each pixel in each phase: (phase, row, column), voxels."""
        out = np.empty((phases, rows.size, columns.size))
        where = (rows.astype(np.float64), columns.astype(np.float64), np.array(middle, dtype=np.float64))
        turned = (np.deg2rad(tilt_deg), np.array(shift, dtype=np.float64), np.deg2rad(rotation_deg))
        project_solids(out, *where, *turned, RAYS, *self.tables)
        return out

    def fractions(self, z: np.ndarray, y: np.ndarray, x: np.ndarray, *, phases: int) -> np.ndarray:
        """Fraction of each voxel that each phase has: (phase, z, y, x); voxels from the middle."""
        out = np.zeros((phases, z.size, y.size, x.size), dtype=np.float32)
        along_z, along_y, along_x = (np.asarray(axis, dtype=np.float64) for axis in (z, y, x))
        of_solids = (self.centres, self.quadrics, self.planes, self.phases, self.reach)
        fill_voxels(out, along_z, along_y, along_x, POINTS, *of_solids)
        return out


class Builder(Protocol):
    """Places the solids of an object.

    ``grain`` is the diameter of a grain in voxels, None for the recipe's own; ``margin`` rows at both ends of
    the box (z, y, x) stay empty.
    """

    def __call__(self, box: tuple[int, int, int], *, seed: int, grain: float | None, margin: float) -> Solids:
        """Place the solids in a box."""
        ...


def stacked(parts: Sequence[Solids]) -> Solids:
    """Join groups of solids; parents count from the first of all."""
    names = ("centres", "quadrics", "planes", "phases", "parents", "reach")
    return Solids(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def ellipsoid(
    centre: np.ndarray, axes: np.ndarray, turn: np.ndarray, *, phase: int, parent: int, planes: int
) -> Solids:
    """Make one ellipsoid, with half-axes along the rows of ``turn`` and room for half-spaces."""
    quadrics = np.zeros((1, 2, 3, 3))
    quadrics[0, 0] = turn / axes[:, None]
    return Solids(
        np.asarray(centre, dtype=np.float64)[None],
        quadrics,
        unused_planes(planes)[None],
        np.array([phase]),
        np.array([parent]),
        np.array([float(axes.max())]),
    )


def unused_planes(count: int) -> np.ndarray:
    """Half-spaces that hold everything: (count, 4)."""
    return np.tile([0.0, 0.0, 0.0, 1.0], (count, 1))


def random_turn(draw: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) from three uniform numbers (K. Shoemake, Graphics Gems III (1992) 124)."""
    a, b = 2 * np.pi * draw[1], 2 * np.pi * draw[2]
    w, x = np.sqrt(1 - draw[0]) * np.array([np.sin(a), np.cos(a)])
    y, z = np.sqrt(draw[0]) * np.array([np.sin(b), np.cos(b)])
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def scatter_in(
    body: Solids, radii: np.ndarray, half: np.ndarray, *, seed: int, stream: int
) -> tuple[np.ndarray, float]:
    """Place spheres apart in a body: centres (solid, 3), and the factor on ``radii`` that made them fit.

    They may look out of the body by a third of their radius, and not out of the box of half-sides ``half``
    along y. Larger radii should come first.
    """
    scale, attempt = 1.0, 0
    while True:
        placed = _placed(body, scale * radii, half, seed=seed, stream=stream + attempt)
        if placed is not None:
            return placed, scale
        scale, attempt = scale * SMALLER, attempt + 1


def _placed(
    body: Solids, radii: np.ndarray, half: np.ndarray, *, seed: int, stream: int
) -> np.ndarray | None:
    """Give random places one after the other, or None if one solid finds none."""
    centres = np.empty((radii.size, 3))
    for i, radius in enumerate(radii):
        room = np.minimum(half - np.array([0.0, radius, 0.0]), body.reach[0])
        if (room <= 0).any():
            return None
        draw = (2 * random_table(seed, stream * 100_003 + i, MOST_TRIES, 3) - 1) * room
        apart = np.sqrt(((draw[:, None] - centres[None, :i]) ** 2).sum(-1)) > radius + radii[:i] + 0.5
        for place in draw[apart.all(axis=1)]:
            if _is_deep(body, place, 0.67 * radius):
                centres[i] = place
                break
        else:
            return None
    return centres


def _is_deep(body: Solids, place: np.ndarray, depth: float) -> bool:
    """Whether points at ``depth`` around a place are all in the body."""
    steps = depth * np.concatenate([np.eye(3), -np.eye(3)])
    solid = (body.centres[0], body.quadrics[0], body.planes[0])
    return all(is_inside(z, y, x, *solid) for z, y, x in place + steps)
