"""What a recipe is: phases with compositions, and a geometry that knows every pixel by its coordinates."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from edxdask.errors import ParameterError
from edxdask.physics.lines import atomic_number
from edxdask.simulate.checks import positive
from edxdask.simulate.solids import Builder

Compositions = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class PhaseSpec:
    """One material of a phantom.

    Attributes
    ----------
    name : label of the phase
    atoms : pairs of element and amount of atoms, in any unit
    density_g_cm3 : mass density
    thickness_nm : film thickness for which its spectrum's absorption is computed
    """

    name: str
    atoms: tuple[tuple[str, float], ...]
    density_g_cm3: float
    thickness_nm: float

    @property
    def composition(self) -> Mapping[str, float]:
        """Atomic fractions by element."""
        whole = sum(amount for _, amount in self.atoms)
        return {element: amount / whole for element, amount in self.atoms}


class Geometry(Protocol):
    """Where the phases are. Evaluated chunk by chunk, so a pixel's values depend on its coordinates alone."""

    @property
    def largest_total(self) -> float:
        """Upper bound of the relative totals."""
        ...

    def fields(self, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Abundance (phase, y, x), summing to 1, and relative total (y, x), of mean 1 over the map.

        ``y`` and ``x`` are rising pixel indices.
        """
        ...


class GeometryBuilder(Protocol):
    """Places the grains of one map.

    ``grain`` is the typical diameter in pixels; ``yields`` are photons of each phase per nm of thickness,
    in any common unit.
    """

    def __call__(
        self, shape: tuple[int, int], *, seed: int, grain: float, yields: tuple[float, ...]
    ) -> Geometry:
        """Place the grains of a map of ``shape`` pixels."""
        ...


@dataclass(frozen=True)
class Recipe:
    """A phantom: its materials, its geometry, and the axis it is meant for.

    Attributes
    ----------
    name : what ``simulate`` calls it
    title : one line for people
    phases : in the order of the ``phase`` dimension
    geometry : places the grains
    energy_offset_kev, channels : axis that shows its lines
    pixel_size_nm : nm between pixels
    uniform_film : whether one thickness and density describe the whole map
    """

    name: str
    title: str
    phases: tuple[PhaseSpec, ...]
    geometry: GeometryBuilder
    energy_offset_kev: float
    channels: int
    pixel_size_nm: float
    uniform_film: bool


@dataclass(frozen=True)
class ObjectRecipe:
    """A phantom in space, for tilt series: its materials, its solids, and the axis it is meant for.

    Attributes
    ----------
    name, title, phases, energy_offset_kev, channels, pixel_size_nm : as of a ``Recipe``
    build : places the solids
    """

    name: str
    title: str
    phases: tuple[PhaseSpec, ...]
    build: Builder
    energy_offset_kev: float
    channels: int
    pixel_size_nm: float


def changed_phases(
    phases: Sequence[PhaseSpec], compositions: Compositions | None, thickness: float | None
) -> tuple[PhaseSpec, ...]:
    """Give phases of a recipe other atoms, or another thickness to all of them."""
    given, known = compositions or {}, [phase.name for phase in phases]
    for name, atoms in given.items():
        if name not in known:
            raise ParameterError("compositions", name, f"phases of the recipe: {', '.join(known)}")
        for element, amount in atoms.items():
            atomic_number(element)
            if not (isinstance(amount, numbers.Real) and math.isfinite(amount) and amount >= 0):
                raise ParameterError(f"compositions[{name!r}][{element!r}]", amount, "atoms, 0 or more")
    nm = None if thickness is None else positive("thickness", thickness)
    made = []
    for phase in phases:
        atoms = {**dict(phase.atoms), **given.get(phase.name, {})}
        if not sum(atoms.values()) > 0:
            raise ParameterError(f"compositions[{phase.name!r}]", atoms, "an amount above 0 of one element")
        kept = tuple((element, float(amount)) for element, amount in atoms.items() if amount > 0)
        made.append(replace(phase, atoms=kept, thickness_nm=nm or phase.thickness_nm))
    return tuple(made)
