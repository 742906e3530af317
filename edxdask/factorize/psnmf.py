"""Pan-sharpening NMF: spectra from binned photons, maps from all of them.

After Chen, Alexander & Hébert, Nano Lett. 24 (2024) 10177: bin, factorize, start the full map from what the
bins gave, join the spectra of the first with the maps of the second. Four things are done better here, each
shown in ``benchmarks/accuracy.py``: spectra are limited to what a detector can resolve (``shapes``), the
full-size maps follow from a penalised likelihood instead of an early stop (``smooth``), and bin factor,
number of phases and strength of the penalty are found by count splitting (``select``, ``split``), and spectra
are found once more from pixels that the maps say look alike (``alike``). Where elements are named, a fifth:
spectra are made of what these emit (``guided``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.engine.checkpoint import Checkpoint
from edxdask.engine.derive import binned_stacks
from edxdask.engine.driver import StopRule
from edxdask.engine.layout import ImageStack
from edxdask.engine.problem import Demand, Problem, maps_of, photons_of, require_phases
from edxdask.errors import ParameterError
from edxdask.factorize.guidance.fit import (
    SPARSITY,
    Phases,
    calibration_attrs,
    refined,
    settle,
    with_composition,
)
from edxdask.factorize.guidance.guide import Absent, Compositions, Guide
from edxdask.factorize.guidance.request import physics_request
from edxdask.factorize.iteration.gather import gather_abundance
from edxdask.factorize.nmf import run_identity
from edxdask.factorize.pansharpening.binned_fit import (
    BinnedFit,
    BinnedModel,
    Upsampled,
    fit_bins,
    spectra_model,
)
from edxdask.factorize.pansharpening.choose_bins import (
    MOST_PHASES,
    Curve,
    choose_bin,
    choose_phases,
    window_of,
)
from edxdask.factorize.pansharpening.choose_strength import choose_strength
from edxdask.factorize.pansharpening.kept_steps import Arrays, kept_or_made
from edxdask.factorize.pansharpening.similar_pixels import SMOOTHER, gather_similar, refine
from edxdask.factorize.priors.smooth_maps import (
    ROUNDS,
    TOLERANCE,
    Prior,
    halo_floats,
    scratch_floats,
    smooth_abundances,
    state_floats,
)
from edxdask.progress import ProgressHook, ProgressOption, shown
from edxdask.results.build import make_result
from edxdask.results.collections import with_shared

SPECTRA_STAGE, FIRST_MAPS_STAGE, MAPS_STAGE = "spectra", "first_maps", "maps"
CHOICES_STAGE, COARSE_STAGE, STRENGTH_STAGE, REFINED_STAGE = "choices", "coarse", "strength", "refined"
Closure = Literal["counts", "thickness"]
BINS_PER_PHASE = 4  # fewer than these leave nothing to tell phases by
FIRST_ROUNDS, FIRST_TOLERANCE = 20, 1e-4  # of the maps that only sort pixels
FIRST_PHASES = 3  # for the bin factor, where the number of phases is not known yet


def psnmf(
    data: xr.Dataset | xr.DataTree,
    *,
    phases: int | None = 3,
    bin: int | None = None,
    elements: Sequence[str] | str | None = None,
    absent: Absent | None = None,
    compositions: Compositions | None = None,
    refine_axis: bool = True,
    smooth: float | None = None,
    prior: Prior = "tv",
    closure: Closure = "counts",
    max_iter: int = 400,
    tol: float = 1e-5,
    seed: int = 0,
    workers: int | None = None,
    memory_limit: str | float | None = None,
    cache: str | Path | None = None,
    checkpoint: str | Path | None = None,
    progress: ProgressOption = None,
) -> xr.Dataset | xr.DataTree:
    """Unmix a cube, or a collection with shared spectra, by pan-sharpening NMF.

    Runs on the active dask Client if there is one, else on threads. Where elements are named, spectra are
    what these emit (``factorize.guided``), and the result says what the phases are made of; where not,
    spectra may have any shape that the detector resolves.

    Parameters
    ----------
    phases : number of phases; None finds it
    bin : pixels per bin along rows and columns in the first factorization; None finds it
    elements : symbols, all that the sample holds, or "find" to look for them; needs the beam energy in
        ``data.attrs``, where ``detector_window`` ("none", "polymer", "beryllium"), or a curve in
        ``efficiency_energy_kev`` and ``efficiency``, say what the detector counts. Lines of others (grid,
        holder, ion beam) get columns of their own and are named in the attribute ``warnings``
    absent : elements that a phase cannot hold, ``{"Fp": "Si", "CaPv": ["Mg"]}``; the phase that shows least
        of them takes the label. A number stands for a phase by its size, 0 the biggest
    compositions : phases of known composition in atoms, ``{"Brg": {"Mg": 1, "Si": 1, "O": 3}}``
    refine_axis : find offset and gain of the energy axis and the width of the peaks, where elements are named
    smooth : strength of the spatial prior on the maps; None finds it, 0 leaves the prior out
    prior : "tv" (edges survive) or "laplacian"
    closure : "counts": every pixel keeps its photons, whatever its thickness. "thickness": all pixels are as
        thick, so a phase that yields more photons makes a pixel brighter, which helps to tell phases apart
    max_iter, tol : of the first factorization; past a gain of 1e-5 it follows the noise (at 15 counts per
        pixel 400 rounds instead of 80 take Fp from 1.4 to 5.4 deg)
    memory_limit : such as "6GiB"; photons that do not fit go to a cache on local disk (folder ``cache``)
    checkpoint : folder; the same call resumes from it, and removes it when done
    progress : a bar in a terminal and in a notebook, unless False; or a function of a ``Progress``

    Returns
    -------
    Dataset
        As from ``nmf``, and the curves that choices were made from: ``bin_score``, ``phases_score``,
        ``smooth_score``; the values taken are attributes ``bin``, ``smooth``. With elements, also
        ``composition(phase, element)`` in atomic fraction with ``composition_std``, and the calibration in
        the attributes. A collection gives a DataTree.
    """
    _check(bin, smooth, max_iter, closure)
    request = physics_request(elements, absent, compositions, phases, refine_axis)
    views = maps_of(data)
    channels = views[0].cube.sizes[schema.ENERGY]
    if phases is not None:
        require_phases(phases, sum(v.stack.pixels for v in views), channels)
    most = phases or MOST_PHASES
    _check_bins(bin, [view.stack for view in views], phases or 1)
    widest = max(view.stack.width for view in views)
    scratch = 6 * most * channels * 8 + 4 * scratch_floats(most, widest)
    demand = Demand(4 * state_floats(most), scratch, 4 * halo_floats(most, widest))
    folder = Path(checkpoint) if checkpoint else None
    with (
        shown(progress, "psnmf") as hook,
        photons_of(
            data, step="psnmf", demand=demand, workers=workers, memory_limit=memory_limit, cache=cache
        ) as problem,
    ):
        identity = run_identity(
            problem, "psnmf", phases=phases, bin=bin, smooth=smooth, prior=prior, seed=seed,
            request=request.identity(problem) if request else "",
        )  # fmt: skip
        run = Run(problem, folder, identity, seed, hook, None if request is None else request.guide(problem))
        with run.window(data, workers) as window:
            curves = run.choose(window, phases, bin)
            fit, found = run.coarse(
                int(curves["phases"].chosen), int(curves["bin"].chosen), StopRule(max_iter, tol)
            )
            curves["smooth"] = run.strength(window, fit, smooth, prior)
        strength = float(curves["smooth"].chosen)
        found = run.refined(fit, found, strength, prior, closure)
        objectives = run.maps(replace(fit, spectra=found.spectra), strength, prior, closure)
        result = _labelled(problem, fit.factor, found, run.guide, curves, objectives, seed)
    run.forget()
    return result


@dataclass(frozen=True)
class Run:
    """One run of psnmf: its problem and where its finished stages are kept."""

    problem: Problem
    folder: Path | None
    identity: dict[str, Any]
    seed: int
    progress: ProgressHook | None
    guide: Guide | None = None

    @property
    def model(self) -> BinnedModel:
        """What spectra of bins are made of while nothing is known about single phases."""
        return spectra_model(self.problem) if self.guide is None else self.guide.mean_model()

    def checkpoint(self, name: str) -> Checkpoint | None:
        """Checkpoint of a stage that iterates."""
        return Checkpoint(self.folder / name, self.identity) if self.folder else None

    def forget(self) -> None:
        """Remove what was kept, when the run is done, and the folder if nothing else is in it."""
        if self.folder is None or not self.folder.is_dir():
            return
        for name in (SPECTRA_STAGE, FIRST_MAPS_STAGE, MAPS_STAGE):
            Checkpoint(self.folder / name, self.identity).remove()
        for name in (CHOICES_STAGE, COARSE_STAGE, STRENGTH_STAGE, REFINED_STAGE):
            (self.folder / f"{name}.npz").unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    @contextmanager
    def window(self, data: xr.Dataset | xr.DataTree, workers: int | None) -> Iterator[Problem]:
        """Photons that choices are made on: all, or a window of a large map."""
        part = window_of(data)
        if part is data:
            yield self.problem
            return
        with photons_of(
            part, step="psnmf (choices)", demand=Demand(0, 0), workers=workers, mean=self.problem.mean
        ) as problem:
            yield problem

    def choose(self, window: Problem, phases: int | None, bin: int | None) -> dict[str, Curve]:
        """Bin factor and number of phases, given or found."""

        def make() -> Arrays:
            first = phases or FIRST_PHASES
            how: dict[str, Any] = {"seed": self.seed, "model": self.model, "progress": self.progress}
            bins = Curve.given(bin) if bin else choose_bin(window, first, **how)
            ranks = Curve.given(phases) if phases else choose_phases(window, int(bins.chosen), **how)
            return {**bins.arrays("bin"), **ranks.arrays("phases")}

        found = kept_or_made(self.folder, CHOICES_STAGE, self.identity, make)
        return {name: Curve.of(found, name) for name in ("bin", "phases")}

    def coarse(self, phases: int, factor: int, rule: StopRule) -> tuple[BinnedFit, Phases]:
        """First factorization, of the binned photons, and what it says of the phases."""

        def make() -> Arrays:
            binned = self.problem.derive(factor=factor)
            try:
                fit = fit_bins(
                    binned,
                    factor,
                    phases,
                    self.model,
                    rule=rule,
                    progress=self.progress,
                    checkpoint=self.checkpoint(SPECTRA_STAGE),
                )
                found = Phases(fit.spectra, fit.abundance, fit.objectives)
                if self.guide is not None:
                    found = settle(binned, found, self.guide, progress=self.progress)
                return found.arrays()
            finally:
                binned.executor.close()

        stacks = binned_stacks([m.stack for m in self.problem.maps], factor)
        found = Phases.of(kept_or_made(self.folder, COARSE_STAGE, self.identity, make))
        fit = BinnedFit(factor, found.spectra, found.abundance, tuple(stacks), found.objectives)
        return fit, found

    def strength(self, window: Problem, fit: BinnedFit, smooth: float | None, prior: Prior) -> Curve:
        """Strength of the prior, given or found."""

        def make() -> Arrays:
            if smooth is not None:
                return Curve.given(smooth).arrays("smooth")
            curve = choose_strength(window, fit.spectra, kind=prior, seed=self.seed, progress=self.progress)
            return curve.arrays("smooth")

        return Curve.of(kept_or_made(self.folder, STRENGTH_STAGE, self.identity, make), "smooth")

    def maps(
        self, fit: BinnedFit, strength: float, prior: Prior, closure: Closure, *, first: bool = False
    ) -> np.ndarray:
        """Full-size maps, left in the states; the objective of every round."""
        rounds, tol = (FIRST_ROUNDS, FIRST_TOLERANCE) if first else (ROUNDS, TOLERANCE)
        return smooth_abundances(
            self.problem,
            fit.spectra,
            strength=strength,
            start=Upsampled(fit.fractions, fit.stacks, fit.factor),
            kind=prior,
            yields=fit.yields([m.stack for m in self.problem.maps]) if closure == "thickness" else None,
            rounds=rounds,
            tol=tol,
            label="first maps" if first else "maps",
            progress=self.progress,
            checkpoint=self.checkpoint(FIRST_MAPS_STAGE if first else MAPS_STAGE),
        )

    def refined(
        self, fit: BinnedFit, found: Phases, strength: float, prior: Prior, closure: Closure
    ) -> Phases:
        """Spectra found once more, from pixels that smooth maps say look alike."""

        def make() -> Arrays:
            self.maps(fit, SMOOTHER * (strength or 1.0), prior, closure, first=True)
            groups = gather_similar(self.problem, len(found.spectra))
            if self.guide is not None:
                return refined(groups, found, self.guide).arrays()
            weights, _ = refine(self.model, self.model.start(found.spectra), groups, sparsity=SPARSITY)
            return replace(found, spectra=self.model.spectra(weights)).arrays()

        return Phases.of(kept_or_made(self.folder, REFINED_STAGE, self.identity, make))


def _labelled(
    problem: Problem,
    factor: int,
    found: Phases,
    guide: Guide | None,
    curves: dict[str, Curve],
    objectives: np.ndarray,
    seed: int,
) -> xr.Dataset | xr.DataTree:
    strength = float(curves["smooth"].chosen)
    made = "" if guide is None else f"elements={','.join(guide.elements)}, "
    attrs = {schema.SEED: seed, schema.BIN: factor, schema.SMOOTH: strength}
    result = make_result(
        problem.maps,
        found.spectra,
        gather_abundance(problem),
        objectives,
        phases=found.labels,
        attrs=attrs if guide is None else {**attrs, **calibration_attrs(guide)},
        entry=f"psnmf(phases={len(found.spectra)}, {made}bin={factor}, smooth={strength:.4g})",
    )
    if guide is not None:
        result = with_composition(result, guide, found)
    shown = {k: v for name, curve in curves.items() for k, v in curve.variables(name).items()}
    return with_shared(result, shown)


def _check_bins(bin: int | None, stacks: list[ImageStack], phases: int) -> None:
    def bins(factor: int) -> int:
        return sum(s.images * -(-s.rows // factor) * -(-s.width // factor) for s in stacks)

    if bin is not None and bins(bin) < BINS_PER_PHASE * phases:
        most = max((b for b in range(1, bin) if bins(b) >= BINS_PER_PHASE * phases), default=1)
        raise ParameterError(
            "bin", bin, f"at most {most}: {phases} phases cannot be told apart in {bins(bin)} bins"
        )


def _check(bin: int | None, smooth: float | None, max_iter: int, closure: str) -> None:
    if closure not in ("counts", "thickness"):
        raise ParameterError("closure", closure, "'counts' or 'thickness'")
    if bin is not None and (isinstance(bin, bool) or not isinstance(bin, int | np.integer) or bin < 1):
        raise ParameterError("bin", bin, "a whole number of pixels of at least 1, or None to find it")
    if smooth is not None and not smooth >= 0:
        raise ParameterError("smooth", smooth, "a strength of at least 0, or None to find it")
    if max_iter < 1:
        raise ParameterError("max_iter", max_iter, "at least 1")
