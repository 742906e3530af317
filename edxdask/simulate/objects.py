"""Objects for tomography: a facetted grain with precipitates, some with a core; and a core-shell particle.

Of the first, .245 of the box is matrix, .039 are precipitates and .0075 their cores.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edxdask.simulate.grains import random_table
from edxdask.simulate.mantle import MANTLE
from edxdask.simulate.recipe import ObjectRecipe, PhaseSpec
from edxdask.simulate.solids import (
    NO_PARENT,
    Solids,
    ellipsoid,
    random_turn,
    scatter_in,
    stacked,
    unused_planes,
)

FACETS = 6
MATRIX, PRECIPITATES, CORES = 0.245, 0.039, 0.0075  # fractions of the box
N_PRECIPITATES, CORED = 16, 5 / 16  # in a box four times as wide as it is high; how many of them have a core
CORED_LARGER = 1.58  # radius of precipitates with a core over that of the others
LARGEST_OF_ROWS = 0.3  # radius of a precipitate over the rows of the box
ASPECT = (0.85, 1.18)  # half-axes over the radius
CROSS_SECTION = (0.31, 0.39)  # half-axes of the body along z and x over the box
ROUNDING = 1.35  # half-axes along z and x of the ellipsoid that rounds the ends, over those of the body
SAMPLED = 48  # voxels a side, at most, on which the volume of a body is measured
CORE_RADIUS = 0.6  # of a core-shell particle, over that of the particle

Box = tuple[int, int, int]


def grain_with_precipitates(box: Box, *, seed: int, grain: float | None, margin: float) -> Solids:
    """Place precipitates, the larger ones with cores, in a facetted grain that nearly fills the rows."""
    inner = (box[0], box[1] - 2 * margin, box[2])
    volume = float(np.prod(inner))
    body = _body(inner, seed=seed)
    half = np.array(inner) / 2 - 0.5
    radii, cored = _radii(inner, volume, grain, seed=seed)
    centres, scale = scatter_in(body, radii * ASPECT[1], half, seed=seed, stream=110)
    core = (CORES * volume / (4 / 3 * np.pi * (radii[:cored] ** 3).sum())) ** (1 / 3)
    parts = [body]
    for i, (centre, radius) in enumerate(zip(centres, radii * scale, strict=True)):
        draw = random_table(seed, 200_000 + i, 1, 6)[0]
        axes = ASPECT[0] + (ASPECT[1] - ASPECT[0]) * draw[:3]
        axes *= radius / axes.prod() ** (1 / 3)
        turn = random_turn(draw[3:])
        shell = ellipsoid(centre, axes, turn, phase=1, parent=0, planes=FACETS)
        parts.append(shell)
        if i < cored:
            own = len(parts) - 1
            parts.append(ellipsoid(centre, core * axes, turn, phase=2, parent=own, planes=FACETS))
    return stacked(parts)


def core_shell(box: Box, *, seed: int, grain: float | None, margin: float) -> Solids:
    """One facetted particle with a core that is off its middle; ``grain`` is its diameter in voxels."""
    side = float(min(box[0], box[1] - 2 * margin, box[2]))
    radius = 0.42 * side if grain is None else 0.5 * grain
    draw = random_table(seed, 130, 3, 3)
    axes = radius * (0.9 + 0.2 * draw[0])
    turn = random_turn(draw[1])
    shell = ellipsoid(np.zeros(3), axes, turn, phase=1, parent=NO_PARENT, planes=FACETS)
    shell = replace(shell, planes=_facets(axes, seed=seed, turn=turn)[None])
    off = 0.15 * radius * (2 * draw[2] - 1)
    core = ellipsoid(off, CORE_RADIUS * axes, turn, phase=0, parent=0, planes=FACETS)
    return stacked([shell, core])


def _radii(
    inner: tuple[float, ...], volume: float, grain: float | None, *, seed: int
) -> tuple[np.ndarray, int]:
    """Radii of the precipitates, those with a core first, and how many have one."""
    both = (PRECIPITATES + CORES) * volume
    if grain is None:
        largest = 4 / 3 * np.pi * (LARGEST_OF_ROWS * inner[1]) ** 3 / CORED_LARGER**1.5
        per_box = N_PRECIPITATES * inner[1] / (0.25 * np.sqrt(inner[0] * inner[2]))
        number = max(N_PRECIPITATES, round(per_box), round(both / largest))
    else:
        number = max(2, round(both / (np.pi / 6 * grain**3)))
    cored = max(1, round(CORED * number))
    spread = 0.75 + 0.5 * random_table(seed, 120, 1, number)[0]
    spread[:cored] = CORED_LARGER * (0.95 + 0.1 * random_table(seed, 121, 1, cored)[0])
    radii = spread * (both / (4 / 3 * np.pi * (spread**3).sum())) ** (1 / 3)
    order = np.concatenate([np.arange(cored), cored + np.argsort(-radii[cored:], kind="stable")])
    return radii[order], cored


def _body(inner: tuple[float, ...], *, seed: int) -> Solids:
    """Cylinder along y with rounded ends and facets, which has the volume that the fractions ask for."""
    wanted = MATRIX + PRECIPITATES + CORES
    scale = 1.0
    for _ in range(8):
        body = _rounded_cylinder(inner, scale, seed=seed)
        steps = [
            np.linspace(-n / 2, n / 2, 2 * k + 1)[1::2] for n, k in ((n, min(SAMPLED, int(n))) for n in inner)
        ]
        found = float(np.mean([_counted(body, z, steps[1], steps[2]) for z in steps[0]]))
        if abs(found / wanted - 1) < 1e-3:
            break
        scale *= np.sqrt(wanted / found)
    return body


def _counted(body: Solids, z: float, y: np.ndarray, x: np.ndarray) -> float:
    """Fraction of points of a plane that are in the body."""
    place = np.stack(np.broadcast_arrays(z, y[:, None], x[None, :]), axis=-1) - body.centres[0]
    inside = np.ones(place.shape[:2], dtype=bool)
    for quadric in body.quadrics[0]:
        inside &= ((place @ quadric.T) ** 2).sum(-1) <= 1
    for plane in body.planes[0]:
        inside &= place @ plane[:3] <= plane[3]
    return float(inside.mean())


def _rounded_cylinder(inner: tuple[float, ...], scale: float, *, seed: int) -> Solids:
    a, b = scale * CROSS_SECTION[0] * inner[0], scale * CROSS_SECTION[1] * inner[2]
    height = inner[1] / 2 - 0.5
    quadrics = np.zeros((1, 2, 3, 3))
    quadrics[0, 0, [0, 2], [0, 2]] = 1 / a, 1 / b
    quadrics[0, 1, [0, 1, 2], [0, 1, 2]] = 1 / (ROUNDING * a), 1 / height, 1 / (ROUNDING * b)
    planes = _facets(np.array([a, 10 * height, b]), seed=seed, flat=0.15)
    centre = np.array([[-0.03 * inner[0], 0.0, 0.03 * inner[2]]])
    phase, parent = np.array([0]), np.array([NO_PARENT])
    reach = np.array([float(np.sqrt(max(a, b) ** 2 + height**2))])
    return Solids(centre, quadrics, planes[None], phase, parent, reach)


def _facets(axes: np.ndarray, *, seed: int, turn: np.ndarray | None = None, flat: float = 1.0) -> np.ndarray:
    """Half-spaces that cut an ellipsoid at 0.8 to 0.97 of what it has in their direction: (facet, 4).

    Normals are random; ``flat`` below 1 keeps them near the plane across y.
    """
    draw = random_table(seed, 140, FACETS, 3)
    angle = 2 * np.pi * (np.arange(FACETS) + 0.8 * draw[:, 0]) / FACETS
    rise = flat * (2 * draw[:, 1] - 1)
    across = np.sqrt(1 - rise**2)
    normals = np.stack([across * np.sin(angle), rise, across * np.cos(angle)], axis=1)
    turned = normals if turn is None else normals @ turn.T
    support = np.sqrt(((turned * axes) ** 2).sum(axis=1))
    planes = unused_planes(FACETS)
    planes[:, :3], planes[:, 3] = normals, support * (0.8 + 0.17 * draw[:, 2])
    return planes


def _particle(name: str, density: float, **atoms: float) -> PhaseSpec:
    return PhaseSpec(name, tuple(atoms.items()), density_g_cm3=density, thickness_nm=50.0)


TOMOGRAPHY = ObjectRecipe(
    name="tomography",
    title="tilt series of a grain of bridgmanite with ferropericlase, some of it around Ca-perovskite",
    phases=MANTLE.phases,
    build=grain_with_precipitates,
    energy_offset_kev=MANTLE.energy_offset_kev,
    channels=MANTLE.channels,
    pixel_size_nm=4.0,
)
CORE_SHELL = ObjectRecipe(
    name="core-shell",
    title="tilt series of a particle of ZnS with a core of ZnSe",
    phases=(_particle("ZnSe", 5.27, Zn=1.0, Se=1.0), _particle("ZnS", 4.09, Zn=1.0, S=1.0)),
    build=core_shell,
    energy_offset_kev=0.1,
    channels=1300,
    pixel_size_nm=1.0,
)
