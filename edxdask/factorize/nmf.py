"""Non-negative matrix factorization of the photons: counts ≈ abundance · spectra.

KL updates are those of Lee & Seung (2001), which for Poisson counts are expectation-maximization;
from the same start and without acceleration they are scikit-learn's ``solver="mu"`` to rounding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.engine.checkpoint import Checkpoint
from edxdask.engine.driver import Loop, StopRule
from edxdask.engine.problem import Demand, Problem, maps_of, photons_of, require_phases
from edxdask.errors import ParameterError
from edxdask.factorize.guidance.fit import (
    Phases,
    calibration_attrs,
    physical_phases,
    with_composition,
)
from edxdask.factorize.guidance.guide import Absent, Compositions
from edxdask.factorize.guidance.request import physics_request
from edxdask.factorize.iteration.gather import gather_abundance
from edxdask.factorize.iteration.rounds import FAR_MOMENTUM, MOST_MOMENTUM, FreeSpectra, factorize
from edxdask.factorize.iteration.starts import GivenState, RandomState, nndsvd, random_spectra
from edxdask.factorize.iteration.sweep_step import Loss
from edxdask.factorize.pansharpening.binned_fit import first_bin, first_spectra
from edxdask.progress import ProgressOption, shown
from edxdask.results.build import make_result

PRECISIONS: dict[str, np.dtype[Any]] = {"single": np.dtype(np.float32), "double": np.dtype(np.float64)}


def nmf(
    data: xr.Dataset | xr.DataTree,
    *,
    phases: int = 3,
    loss: Loss = "kl",
    init: str | tuple[Any, Any] | xr.Dataset | None = None,
    max_iter: int = 500,
    tol: float = 1e-7,
    accelerate: bool = True,
    fixed: Any = None,
    forbidden: Any = None,
    elements: Sequence[str] | str | None = None,
    absent: Absent | None = None,
    compositions: Compositions | None = None,
    refine_axis: bool = True,
    precision: str = "single",
    seed: int = 0,
    workers: int | None = None,
    memory_limit: str | float | None = None,
    cache: str | Path | None = None,
    checkpoint: str | Path | None = None,
    progress: ProgressOption = None,
) -> xr.Dataset | xr.DataTree:
    """Factorize a cube, or a collection with shared spectra, into ``phases`` phases.

    Runs on the active dask Client if there is one, else on threads.

    Parameters
    ----------
    loss : "kl" for Poisson counts, or "frobenius"
    init : None or "nndsvda", "random", or ``(abundance, spectra)`` with ``abundance`` of shape
        ``(pixels, phases)`` or ``(phases, *pixel dims)``, or an earlier result
    max_iter, tol : stop after so many iterations, or when three in a row gain less than ``tol`` of it; with
        elements each of two fits does, that with columns which phases share and that with each phase's own
    accelerate : KL begins with rounds on binned photons, unless ``init`` is given, and extrapolates with a
        guard; False gives the plain updates, one by one those of scikit-learn, and looks at the KL objective
        every tenth iteration, as it does
    fixed : boolean (phases,) or (phases, channels): entries of the spectra that keep their value in ``init``
    forbidden : the same: entries of the spectra that are zero
    elements, absent, compositions, refine_axis : make spectra of what elements emit, as in ``psnmf``; KL only
    precision : "single" or "double"
    memory_limit : such as "6GiB"; photons that do not fit go to a cache on local disk (folder ``cache``)
    checkpoint : folder; the same call resumes from it, and removes it when done
    progress : a bar in a terminal and in a notebook, unless False; or a function of a ``Progress``

    Returns
    -------
    Dataset
        ``spectrum(phase, energy)``, ``abundance(phase, …)``, ``total(…)``, ``objective(iteration)``; for a
        collection a DataTree with the spectra at its root. With elements, also
        ``composition(phase, element)`` with ``composition_std``.
    """
    _check_options(loss, max_iter, tol, precision)
    request = physics_request(elements, absent, compositions, phases, refine_axis)
    if request and (loss != "kl" or fixed is not None or forbidden is not None):
        raise ParameterError(
            "elements", elements, "None with another loss than 'kl', or with fixed or forbidden channels",
            "Say what phases hold with absent={...} and compositions={...}.",
        )  # fmt: skip
    dtype = PRECISIONS[precision]
    views = maps_of(data)
    channels = views[0].cube.sizes[schema.ENERGY]
    rank = require_phases(phases, sum(v.stack.pixels for v in views), channels)
    from_bins = accelerate and loss == "kl" and request is None and (init is None or isinstance(init, str))
    factor = first_bin([v.stack for v in views]) if from_bins else None
    binned = 2 * channels // factor**2 if factor else 0  # bins are nearly full: two bytes per channel
    # abundances, those before and those in the making; at the end the result's maps and totals
    state = rank * dtype.itemsize * (4 if accelerate else 3) + 16
    demand = Demand(state + binned, 6 * rank * channels * 8)
    where: dict[str, Any] = {"workers": workers, "memory_limit": memory_limit, "cache": cache}
    with shown(progress, "nmf") as hook, photons_of(data, step="nmf", demand=demand, **where) as problem:
        spectra = start_factors(problem, init, rank, dtype, seed)
        masks = {name: _mask(value, name, spectra.shape) for name, value in _named(fixed, forbidden)}
        if forbidden is not None:
            spectra[masks["forbidden"]] = 0
        kept = None
        if checkpoint:
            identity = run_identity(
                problem, "nmf", phases=rank, loss=loss, precision=precision, seed=seed, accelerate=accelerate,
                init=_name_of(init, problem, rank), request=request.identity(problem) if request else "",
                **{name: digest(mask) for name, mask in masks.items()},
            )  # fmt: skip
            kept = Checkpoint(Path(checkpoint), identity)
        loop = Loop(problem.executor, "nmf", StopRule(max_iter, tol), hook, kept)
        attrs: dict[str, Any] = {schema.SEED: seed}
        if request is None:
            model = FreeSpectra(masks.get("fixed"))
            if factor and not resumes(kept):
                spectra = first_spectra(problem, spectra, model, factor, max_iter, hook)
            most = FAR_MOMENTUM if loss == "kl" else MOST_MOMENTUM
            spectra, objectives = factorize(
                problem, model, spectra, loop, loss=loss, accelerate=accelerate, most_momentum=most
            )
            found = Phases(spectra, gather_abundance(problem), objectives)
        else:
            guide = request.guide(problem)
            found = physical_phases(problem, spectra, guide, loop, accelerate=accelerate)
            attrs |= calibration_attrs(guide)
        result = make_result(
            problem.maps,
            found.spectra,
            found.abundance,
            found.objectives,
            phases=found.labels,
            attrs=attrs,
            entry=f"nmf(phases={rank}, loss={loss!r}, seed={seed})",
        )
        if loop.checkpoint:
            loop.checkpoint.remove()
    return result if request is None else with_composition(result, guide, found)


def resumes(checkpoint: Checkpoint | None) -> bool:
    """Tell whether the loop will go on from a checkpoint."""
    return checkpoint is not None and checkpoint.latest() is not None


def start_factors(problem: Problem, init: Any, rank: int, dtype: np.dtype, seed: int) -> np.ndarray:
    """Set the partitions' abundances and return the spectra of the chosen start."""
    executor, channels = problem.executor, problem.channels
    mean = problem.photons / (problem.pixels * channels)
    if init is None or (isinstance(init, str) and init == "nndsvda"):
        return nndsvd(executor, channels, rank, mean, dtype)
    if isinstance(init, str) and init == "random":
        # the scale that makes the product of two uniform factors match the mean
        scale = float(np.sqrt(4 * mean / rank))
        executor.start(RandomState(rank, dtype, seed, scale))
        return random_spectra(rank, channels, dtype, seed, scale)
    abundance, spectra = _given(init, problem, rank)
    executor.start(GivenState(abundance.astype(dtype)))
    return np.ascontiguousarray(spectra, dtype=dtype)


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


def _check_options(loss: str, max_iter: int, tol: float, precision: str) -> None:
    if loss not in ("kl", "frobenius"):
        raise ParameterError("loss", loss, "'kl' or 'frobenius'")
    if precision not in PRECISIONS:
        raise ParameterError("precision", precision, "'single' or 'double'")
    if max_iter < 1:
        raise ParameterError("max_iter", max_iter, "at least 1")
    if not tol >= 0:
        raise ParameterError("tol", tol, "a number of at least 0")


def _named(fixed: Any, forbidden: Any) -> list[tuple[str, Any]]:
    return [(n, v) for n, v in (("fixed", fixed), ("forbidden", forbidden)) if v is not None]


def _mask(value: Any, name: str, shape: tuple[int, int]) -> np.ndarray:
    mask = np.asarray(value)
    if mask.dtype != bool or mask.shape not in (shape, shape[:1]):
        raise ParameterError(name, f"{mask.dtype} {mask.shape}", f"booleans of shape {shape[:1]} or {shape}")
    return np.broadcast_to(mask if mask.ndim == 2 else mask[:, None], shape)


def _name_of(init: Any, problem: Problem, rank: int) -> str:
    if init is None:
        return "nndsvda"
    return init if isinstance(init, str) else digest(*_given(init, problem, rank))


def digest(*arrays: np.ndarray) -> str:
    """Short name of the values of some arrays, for a checkpoint's identity."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:16]


def run_identity(problem: Problem, method: str, **parameters: Any) -> dict[str, Any]:
    """Collect what must be the same for a checkpoint to be this run's."""
    return {
        "method": method,
        "pixels": problem.pixels,
        "channels": problem.channels,
        "photons": problem.photons,
        "fingerprint": problem.fingerprint(),
        "energy_kev": [float(problem.energy[0]), float(problem.energy[-1])],
        **parameters,
    }
