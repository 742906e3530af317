"""What a recipe is: phases with compositions, and a geometry that knows every pixel by its coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np


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
