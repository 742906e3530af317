"""Spectra of the phases of a tilt series: from a result, or from all its photons at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.factorize.guidance.guide import Absent
from edxdask.factorize.psnmf import psnmf
from edxdask.results.check import labels_of
from edxdask.results.collections import shared_part
from edxdask.results.kinds import Kind, kind_of, said

# what a result says of its phases and of how it was calibrated goes with the volume
KEPT = (
    schema.SPECTRUM,
    schema.COMPOSITION,
    schema.COMPOSITION + schema.STD_SUFFIX,
    schema.ELEMENT_PHOTONS,
)


@dataclass(frozen=True)
class PhaseSpectra:
    """Spectra of phases.

    Attributes
    ----------
    shared : Dataset with ``spectrum`` (phase, energy), ``composition`` where known, attributes of the fit
    first : first channel that may be used
    """

    shared: xr.Dataset
    first: int

    @property
    def labels(self) -> list[str]:
        """Names of the phases."""
        return labels_of(self.shared)

    @property
    def spectrum(self) -> np.ndarray:
        """Spectra (phase, energy); rows sum to 1."""
        values = self.shared[schema.SPECTRUM].transpose(schema.PHASE, schema.ENERGY).values
        return np.asarray(values, dtype=np.float64)

    @property
    def composition(self) -> dict[str, dict[str, float]] | None:
        """Atomic fractions by phase and element; None where they are not known."""
        if schema.COMPOSITION not in self.shared:
            return None
        known = self.shared[schema.COMPOSITION].transpose(schema.PHASE, schema.ELEMENT)
        elements = [str(one) for one in known[schema.ELEMENT].values]
        return {
            label: dict(zip(elements, map(float, row), strict=True))
            for label, row in zip(self.labels, known.values, strict=True)
        }


def spectra_of(result: Any, cube: xr.Dataset) -> PhaseSpectra:
    """Take spectra from a result that was made on the energy axis of ``cube``.

    Raises
    ------
    ParameterError, SchemaError
        If it is no result of phases, or on another axis.
    """
    kind = kind_of(result)
    if kind not in (Kind.PHASES, Kind.VOLUME):
        raise ParameterError("result", said(result), "a result of psnmf or nmf, of these or of other maps")
    shared = shared_part(result)
    mine, its = schema.energy_axis(cube), schema.energy_axis(shared)
    if shared.sizes[schema.ENERGY] != cube.sizes[schema.ENERGY] or not np.allclose(
        mine, its, rtol=0, atol=1e-3 * mine[1]
    ):
        raise SchemaError(
            f"result has {shared.sizes[schema.ENERGY]} channels of {1e3 * its[1]:.4g} eV from {its[0]:.4g} "
            f"keV, and the series {cube.sizes[schema.ENERGY]} channels of {1e3 * mine[1]:.4g} eV from "
            f"{mine[0]:.4g} keV: spectra must be those of its energy axis; leave result out to find them"
        )
    kept = [name for name in KEPT if name in shared]
    return PhaseSpectra(shared[kept], _first_channel(shared))


def found_spectra(
    cube: xr.Dataset,
    *,
    phases: int | Sequence[str] | None,
    elements: Sequence[str] | str | None,
    absent: Absent | None,
    seed: int,
    **where: Any,
) -> PhaseSpectra:
    """Unmix all projections together, and take the spectra."""
    result = psnmf(cube, phases=phases, elements=elements, absent=absent, seed=seed, **where)
    return spectra_of(result, cube)


def _first_channel(shared: xr.Dataset) -> int:
    """First channel at or above the energy below which channels take part in totals only."""
    lowest = shared.attrs.get(schema.LOWEST_ENERGY)
    if lowest is None:
        return 0
    return int(np.searchsorted(shared[schema.ENERGY].values, float(lowest) - 1e-9))
