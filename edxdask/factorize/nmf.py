"""Non-negative matrix factorization of the photons: counts ≈ abundance · spectra.

KL updates are those of Lee & Seung (2001), which for Poisson counts are expectation-maximization;
from the same start and without acceleration they are scikit-learn's ``solver="mu"`` to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from edxdask import schema
from edxdask.engine.checkpoint import Checkpoint, digest
from edxdask.engine.driver import Loop, StopRule
from edxdask.engine.memory import CopySet, Demand, PhotonCopy
from edxdask.engine.problem import Problem, maps_of, photons_of, require_phases
from edxdask.errors import ParameterError
from edxdask.factorize.iteration.chosen_start import Start, chosen_start, name_of_start, names_of_start
from edxdask.factorize.iteration.first_rounds import first_bin, first_spectra
from edxdask.factorize.iteration.gather import gather_abundance, phase_sizes
from edxdask.factorize.iteration.phases import Phases, WantedPhases
from edxdask.factorize.iteration.rounds import FAR_MOMENTUM, MOST_MOMENTUM, factorize
from edxdask.factorize.iteration.starts import FirstFactors
from edxdask.factorize.iteration.sweep_step import Loss
from edxdask.factorize.spectra.free import FreeSpectra
from edxdask.progress import ProgressOption, shown
from edxdask.results.build import make_result
from edxdask.results.collections import Data, OneOrMany

if TYPE_CHECKING:  # plain factorizations load nothing of the guided ones
    from edxdask.factorize.guidance.guide import Absent, Compositions, Guide
    from edxdask.factorize.guidance.request import PhysicsRequest

PRECISIONS: dict[str, np.dtype[Any]] = {"single": np.dtype(np.float32), "double": np.dtype(np.float64)}
Precision = Literal["single", "double"]


def nmf(
    data: OneOrMany,
    *,
    phases: int | Sequence[str] = 3,
    loss: Loss = "kl",
    init: Start = None,
    max_iter: int = 500,
    tol: float = 1e-7,
    accelerate: bool = True,
    fixed: Any = None,
    forbidden: Any = None,
    elements: Sequence[str] | str | None = None,
    absent: Absent | None = None,
    compositions: Compositions | None = None,
    refine_axis: bool = True,
    precision: Precision = "single",
    workers: int | None = None,
    memory_limit: str | float | None = None,
    cache: str | Path | None = None,
    checkpoint: str | Path | None = None,
    progress: ProgressOption = None,
    seed: int = 0,
) -> OneOrMany:
    """Factorize a cube, or a collection with shared spectra, into phases.

    Runs on the active dask Client if there is one, else on threads.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube, or collection of cubes on one energy axis.
    phases : int or list of str
        Number of phases, or their names, as in ``["Brg", "Fp", "CaPv"]``: the biggest phase gets the first
        name, unless ``absent``, ``compositions`` or an ``init`` with these names identify it. The result
        lists the phases in the order of the names.
    loss : {"kl", "frobenius"}
        "kl" for Poisson counts.
    init : str, tuple or Dataset, optional
        "nndsvda" is scikit-learn's, with zeros filled by the mean of the counts; None is the same where that
        mean is at most 1, and above it fills with its square root. "random", or ``(abundance, spectra)``
        with ``abundance`` of shape ``(pixels, phases)`` or ``(phases, *pixel dims)``, or an earlier result.
    max_iter : int
        Most iterations; with elements each of two fits does as many: one with columns common
        to all phases, and one with separate columns for each.
    tol : float
        Stop when three iterations in a row gain less than this fraction of the objective.
    accelerate : bool
        KL begins with rounds on binned photons, unless ``init`` is given, and extrapolates with a guard.
        False gives the plain updates of scikit-learn, and evaluates the KL objective every tenth iteration,
        as scikit-learn does.
    fixed : array of bool, optional
        (phases,) or (phases, channels): entries of the spectra that keep their value in ``init``.
    forbidden : array of bool, optional
        The same: entries of the spectra that are zero.
    elements : list of str, optional
        Make spectra of what these elements emit, as in ``psnmf``; KL only.
    absent : dict, optional
        Elements that a phase cannot hold, as in ``psnmf``.
    compositions : dict, optional
        Phases of known composition, as in ``psnmf``.
    refine_axis : bool
        Find offset and gain of the energy axis and the width of the peaks, where elements are named.
    precision : {"single", "double"}
        Of the factors.
    workers : int, optional
        Threads; None takes one per processor that this program may use. A cluster has its own number.
    memory_limit : str or float, optional
        Such as "6GiB"; photons that do not fit go to a cache on local disk.
    cache : path, optional
        Folder of that cache.
    checkpoint : path, optional
        Folder; the same call resumes from it, and removes it when done. A larger ``max_iter`` continues the
        run; other parameters are refused.
    progress : callable, bool or None
        None shows a bar in a terminal and in a notebook; False shows nothing; a callable gets every report.
    seed : int
        Of a random start.

    Returns
    -------
    Dataset or DataTree
        ``spectrum(phase, energy)``, ``abundance(phase, …)``, ``total(…)``, ``objective(iteration)``; for a
        collection a DataTree with the spectra at its root. With elements, also
        ``composition(phase, element)`` with ``composition_std``.

    Examples
    --------
    >>> import edxdask
    >>> cube = edxdask.simulate("mantle", shape=(24, 24), counts=100)
    >>> result = edxdask.nmf(cube, phases=3, max_iter=50)
    >>> result["abundance"].sizes["phase"], result["phase"].values.tolist()
    (3, ['phase_0', 'phase_1', 'phase_2'])
    """
    _check_options(loss, max_iter, tol, precision)
    wanted = WantedPhases.of(phases)
    request = _physics(elements, absent, compositions, wanted, refine_axis)
    if request and (loss != "kl" or fixed is not None or forbidden is not None):
        raise ParameterError(
            "elements", elements, "None with another loss than 'kl', or with fixed or forbidden channels",
            "Say what phases hold with absent={...} and compositions={...}.",
            typed_fix="Elements go with --loss kl, and --absent says what a phase cannot hold.",
        )  # fmt: skip
    views = maps_of(data)
    channels = views[0].cube.sizes[schema.ENERGY]
    rank = require_phases(wanted.number, sum(v.stack.pixels for v in views), channels)
    from_bins = accelerate and loss == "kl" and request is None and (init is None or isinstance(init, str))
    factor = first_bin([v.stack for v in views]) if from_bins else None
    plan = FitPlan(rank, loss, StopRule(max_iter, tol), accelerate, PRECISIONS[precision], factor, seed)
    with (
        shown(progress, "nmf") as hook,
        photons_of(
            data,
            step="nmf",
            demand=plan.demand(channels),
            workers=workers,
            memory_limit=memory_limit,
            cache=cache,
        ) as problem,
    ):
        first = chosen_start(problem, init, rank, plan.dtype, seed)
        masks = {
            name: _mask(value, name, first.spectra.shape)
            for name, value in (("fixed", fixed), ("forbidden", forbidden))
            if value is not None
        }
        kept = None
        if checkpoint:
            own = {name: digest(mask) for name, mask in masks.items()}
            own["init"] = name_of_start(init, problem, rank)
            kept = Checkpoint(Path(checkpoint), plan.identity(problem, wanted, request, own))
        loop = Loop(problem.executor, "nmf", plan.rule, hook, kept)
        names = names_of_start(init, wanted)
        if request is None:
            result = _free(first, plan, masks, loop, wanted, names)
        else:
            result = _guided(first, plan, request.guide(problem), loop, wanted, names)
        if kept:
            kept.remove()
    return cast(OneOrMany, result)


@dataclass(frozen=True)
class FitPlan:
    """What determines a fit besides the data.

    Attributes
    ----------
    rank : number of phases
    factor : pixels per bin of the first rounds; None where there are none
    """

    rank: int
    loss: Loss
    rule: StopRule
    accelerate: bool
    dtype: np.dtype[Any]
    factor: int | None
    seed: int

    @property
    def entry(self) -> str:
        """Line of the result's history."""
        return f"nmf(phases={self.rank}, loss={self.loss!r}, seed={self.seed})"

    def demand(self, channels: int) -> Demand:
        """Memory that the fit takes beside the photons."""
        # abundances, those before and those in the making; at the end the result's maps and totals
        state = self.rank * self.dtype.itemsize
        bins = CopySet((PhotonCopy(self.factor or 1),), state)
        per_pixel = state * (4 if self.accelerate else 3) + 16
        return Demand(per_pixel, 6 * self.rank * channels * 8, copies=(bins,) if self.factor else ())

    def identity(
        self, problem: Problem, wanted: WantedPhases, request: PhysicsRequest | None, own: dict[str, str]
    ) -> dict[str, Any]:
        """Collect what a checkpoint of this fit follows from; ``own`` names the start and the masks."""
        return problem.identity(
            "nmf", phases=self.rank, names=list(wanted.names), loss=self.loss, precision=self.dtype.name,
            seed=self.seed, accelerate=self.accelerate,
            physics=request.identity(problem) if request else "", **own,
        )  # fmt: skip


def _free(
    first: FirstFactors,
    plan: FitPlan,
    masks: dict[str, np.ndarray],
    loop: Loop,
    wanted: WantedPhases,
    known: tuple[str | None, ...] | None,
) -> Data:
    """Fit spectra of any shape."""
    problem = first.abundance.problem
    proportional = FreeSpectra(masks.get("fixed"), problem.below, problem.floor.first)
    # least squares has no scale at which all phases have the unusable channels in proportion: they get zeros
    model = proportional if plan.loss == "kl" else FreeSpectra(masks.get("fixed"))
    spectra = first.spectra
    if plan.loss != "kl":
        spectra = np.where(np.arange(spectra.shape[1]) < problem.floor.first, spectra.dtype.type(0), spectra)
    if "forbidden" in masks:
        spectra = np.where(masks["forbidden"], spectra.dtype.type(0), spectra)
    if plan.factor and (loop.checkpoint is None or loop.checkpoint.latest() is None):
        begun = replace(first, spectra=spectra)
        spectra = first_spectra(begun, model, plan.factor, plan.rule.max_iter, loop.progress)
    found = factorize(
        first.abundance, model, spectra, loop, loss=plan.loss, accelerate=plan.accelerate,
        most_momentum=FAR_MOMENTUM if plan.loss == "kl" else MOST_MOMENTUM,
    )  # fmt: skip
    order, spectra = None, proportional.spectra(found.spectra)
    if wanted.names:
        sizes = phase_sizes(found.abundance) * spectra.sum(axis=1, dtype=np.float64)
        rows = {row: name for row, name in enumerate(known or ()) if name}
        order = np.array(wanted.rows_by_name(sizes, rows))
    return make_result(
        problem.maps,
        spectra if order is None else spectra[order],
        gather_abundance(found.abundance, order),
        found.objectives,
        phases=wanted.names or None,
        attrs={schema.SEED: plan.seed, **problem.lowest_energy},
        entry=plan.entry,
        warnings=problem.warnings,
    )


def _guided(
    first: FirstFactors,
    plan: FitPlan,
    guide: Guide,
    loop: Loop,
    wanted: WantedPhases,
    known: tuple[str | None, ...] | None,
) -> Data:
    """Fit spectra of what elements emit."""
    from edxdask.factorize.guidance.fit import calibration_attrs, physical_phases, with_composition

    found: Phases = physical_phases(first, guide, loop, wanted, known=known, accelerate=plan.accelerate)
    result = make_result(
        first.abundance.problem.maps,
        found.spectra,
        found.abundance,
        found.objectives,
        phases=found.labels,
        attrs={schema.SEED: plan.seed, **calibration_attrs(guide)},
        entry=plan.entry,
        warnings=[*first.abundance.problem.warnings, *found.notes],
    )
    return with_composition(result, guide, found)


def _physics(
    elements: Sequence[str] | str | None,
    absent: Absent | None,
    compositions: Compositions | None,
    wanted: WantedPhases,
    refine_axis: bool,
) -> PhysicsRequest | None:
    """Check the physics parameters; None, and nothing loaded, where there are none."""
    if elements is None and not absent and not compositions:
        return None
    from edxdask.factorize.guidance.request import physics_request

    for name, labels in (("absent", absent), ("compositions", compositions)):
        wanted.check_labels(name, labels or {})
    return physics_request(elements, absent, compositions, wanted.number, refine_axis)


def _check_options(loss: str, max_iter: int, tol: float, precision: str) -> None:
    if loss not in ("kl", "frobenius"):
        raise ParameterError("loss", loss, "'kl' or 'frobenius'")
    if precision not in PRECISIONS:
        raise ParameterError("precision", precision, "'single' or 'double'")
    if max_iter < 1:
        raise ParameterError("max_iter", max_iter, "at least 1")
    if not tol >= 0:
        raise ParameterError("tol", tol, "a number of at least 0")


def _mask(value: Any, name: str, shape: tuple[int, int]) -> np.ndarray:
    mask = np.asarray(value)
    if mask.dtype != bool or mask.shape not in (shape, shape[:1]):
        raise ParameterError(name, f"{mask.dtype} {mask.shape}", f"booleans of shape {shape[:1]} or {shape}")
    return np.broadcast_to(mask if mask.ndim == 2 else mask[:, None], shape)
