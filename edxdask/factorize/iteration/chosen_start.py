"""The start that a user chooses for `nmf`: by name, an earlier result, or arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.engine.checkpoint import digest
from edxdask.engine.problem import Problem
from edxdask.engine.states import PixelStates
from edxdask.errors import ParameterError
from edxdask.factorize.iteration.phases import WantedPhases
from edxdask.factorize.iteration.starts import (
    FirstFactors,
    GivenState,
    RandomState,
    nndsvd,
    random_spectra,
    usual_fill,
)

Start = str | tuple[Any, Any] | xr.Dataset | None
NUMBERED = "phase_"  # beginning of names that have no meaning


def chosen_start(problem: Problem, init: Start, rank: int, dtype: np.dtype, seed: int) -> FirstFactors:
    """Make the factors of the start that the user chose."""
    mean = problem.photons / (problem.pixels * problem.channels)
    if init is None:
        return nndsvd(problem, rank, usual_fill(problem), dtype)
    if isinstance(init, str) and init == "nndsvda":
        return nndsvd(problem, rank, mean, dtype)
    if isinstance(init, str) and init == "random":
        # the scale that makes the product of two uniform factors match the mean
        scale = float(np.sqrt(4 * mean / rank))
        spectra = random_spectra(rank, problem.channels, dtype, seed, scale)
        return FirstFactors(spectra, PixelStates.made(problem, RandomState(rank, dtype, seed, scale)))
    abundance, given = _given(init, problem, rank)
    states = PixelStates.made(problem, GivenState(abundance.astype(dtype)))
    return FirstFactors(np.ascontiguousarray(given, dtype=dtype), states)


def names_of_start(init: Start, wanted: WantedPhases) -> tuple[str | None, ...] | None:
    """Names that a start gives its phases, where names are required.

    Raises
    ------
    ParameterError
        If the start names a phase that is not among them.
    """
    if not wanted.names or not isinstance(init, xr.Dataset) or schema.PHASE not in init.coords:
        return None
    labels = [str(label) for label in init.coords[schema.PHASE].values]
    found = tuple(label if label in wanted.names else None for label in labels)
    strange = [label for i, label in enumerate(labels) if found[i] is None and not label.startswith(NUMBERED)]
    if strange:
        raise ParameterError(
            "phases", list(wanted.names), f"the names of init among them, {', '.join(strange)}",
            "Rename them: init.assign_coords(phase=[...]).",
        )  # fmt: skip
    return found


def _given(init: Any, problem: Problem, rank: int) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(init, xr.Dataset):
        scaled = init[schema.ABUNDANCE] * init[schema.TOTAL]
        init = (scaled.transpose(schema.PHASE, ...).values, init[schema.SPECTRUM].values)
    if not (isinstance(init, tuple) and len(init) == 2):
        raise ParameterError("init", init, "'nndsvda', 'random', a result, or the pair (abundance, spectra)")
    abundance, spectra = (np.asarray(part, dtype=np.float64) for part in init)
    if abundance.ndim > 2 or abundance.shape == (rank, problem.pixels):
        abundance = abundance.reshape(len(abundance), -1).T
    wanted = (problem.pixels, rank), (rank, problem.channels)
    for name, part, shape in zip(("abundance", "spectra"), (abundance, spectra), wanted, strict=True):
        if part.shape != shape:
            raise ParameterError(f"init {name}", part.shape, f"shape {shape}")
        if not np.isfinite(part).all() or (part < 0).any():
            raise ParameterError(f"init {name}", "negative or not finite", "finite values of at least 0")
    return abundance, spectra


def name_of_start(init: Start, problem: Problem, rank: int) -> str:
    """Name a start for the identity of a run."""
    if init is None:
        return "usual"
    return init if isinstance(init, str) else digest(*_given(init, problem, rank))
