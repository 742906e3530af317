"""Pan-sharpening NMF: spectra from binned photons, maps from all of them.

After Chen, Alexander & Hébert, Nano Lett. 24 (2024) 10177: bin, factorize, start the maps of all pixels from
what the bins gave, join the spectra of the first with the maps of the second. Four things are better
here, each shown in ``benchmarks/accuracy.py``: spectra are limited to what a detector can resolve
(``spectra.resolved``), maps follow from a penalised likelihood instead of an early stop (``priors``), bin
factor, number of phases and strength of the penalty are found by count splitting (``pansharpening``), and
spectra are found once more from pixels of similar fractions. With named elements there is a fifth: spectra
are made of what these emit (``guidance``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from edxdask import schema
from edxdask.engine.driver import StopRule
from edxdask.engine.layout import ImageStack
from edxdask.engine.memory import CopySet, Demand, PhotonCopy
from edxdask.engine.problem import Problem, maps_of, photons_of, require_phases
from edxdask.errors import ParameterError
from edxdask.factorize.guidance.fit import calibration_attrs, with_composition
from edxdask.factorize.guidance.guide import Absent, Compositions, Guide
from edxdask.factorize.guidance.request import PhysicsRequest, physics_request
from edxdask.factorize.identifiability.nothing import phases_that_are_none
from edxdask.factorize.identifiability.report import with_open
from edxdask.factorize.iteration.gather import (
    brightest_pixels,
    gather_abundance,
    largest_fractions,
    phase_sizes,
)
from edxdask.factorize.iteration.phases import WantedPhases
from edxdask.factorize.pansharpening.binned_fit import bin_bytes
from edxdask.factorize.pansharpening.choose_bins import (
    MOST_PHASES,
    copies_for_choices,
    number_warnings,
    window_of,
)
from edxdask.factorize.pansharpening.kept_steps import KeptSteps
from edxdask.factorize.pansharpening.regions import spectra_of_regions
from edxdask.factorize.pansharpening.steps import (
    Closure,
    PsnmfOptions,
    Run,
    Unmixed,
    unmix,
)
from edxdask.factorize.priors.memory import halo_floats, map_bytes, scratch_floats
from edxdask.factorize.priors.smooth_maps import Prior, checked_kind, fractions_without_photons
from edxdask.progress import ProgressOption, shown
from edxdask.results.build import make_result
from edxdask.results.collections import Data, OneOrMany, with_shared

BINS_PER_PHASE = 4  # fewer than these are not enough to separate phases
CODE = 10 * 2**20  # of the kernels that bin, thin and smooth, measured
EXPECTED_BIN = 2  # at least, where the bin factor is found from the data: larger bins take less memory


def psnmf(
    data: OneOrMany,
    *,
    phases: int | Sequence[str] | None = 3,
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
    workers: int | None = None,
    memory_limit: str | float | None = None,
    cache: str | Path | None = None,
    checkpoint: str | Path | None = None,
    progress: ProgressOption = None,
    seed: int = 0,
) -> OneOrMany:
    """Unmix a cube, or a collection with shared spectra, by pan-sharpening NMF.

    Runs on the active dask Client if there is one, else on threads. With named elements, spectra are
    what these emit, and the result says what the phases are made of. Without, spectra may have any shape
    that the detector resolves.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube, or collection of cubes on one energy axis.
    phases : int, list of str or None
        Number of phases, or their names, as in ``["Brg", "Fp", "CaPv"]``: the biggest phase gets the first
        name, unless ``absent`` or ``compositions`` identify it. The result lists the phases in the order of
        the names. None finds the number, without phases that turn out to be none.
    bin : int, optional
        Pixels per bin along rows and columns in the first factorization; None finds it.
    elements : list of str, optional
        Symbols, all that the sample holds, or "find" to find them; needs the beam energy in
        ``data.attrs``, where ``detector_window`` ("none", "polymer", "beryllium"), or a curve in
        ``efficiency_energy_kev`` and ``efficiency``, say what the detector counts. Lines of others (grid,
        holder, ion beam) get separate columns and are named in the attribute ``warnings``.
    absent : dict, optional
        Elements that a phase cannot hold, ``{"Fp": "Si", "CaPv": ["Mg"]}``; the phase with the least of
        them gets the label. A number means a phase by its size, 0 the biggest. If ``phases`` are
        names, labels must be among them.
    compositions : dict, optional
        Phases of known composition in atoms, ``{"Brg": {"Mg": 1, "Si": 1, "O": 3}}``.
    refine_axis : bool
        Find offset and gain of the energy axis and the width of the peaks, where elements are named.
    smooth : float, optional
        Strength of the spatial prior on the maps; None finds it, 0 leaves the prior out.
    prior : {"tv", "laplacian"}
        "tv" (total variation) keeps edges sharp.
    closure : {"counts", "thickness"}
        "counts": every pixel keeps its photons, for any thickness. "thickness": all pixels are equally
        thick, so a phase that yields more photons makes a pixel brighter, which helps to separate phases.
    max_iter : int
        Most rounds of the first factorization.
    tol : float
        It stops when three rounds in a row gain less than this fraction of the objective. Below 1e-5 it
        fits the noise (at 15 counts per pixel 400 rounds instead of 80 take Fp from 1.4 to 5.4 deg).
    workers : int, optional
        Threads; None takes one per processor that this program may use. A cluster has its own number.
    memory_limit : str or float, optional
        Such as "6GiB"; photons, and copies of them, that do not fit go to a cache on local disk.
    cache : path, optional
        Folder of that cache.
    checkpoint : path, optional
        Folder in which finished steps are kept; the same call resumes from it, and removes it when done. A
        larger ``max_iter`` continues; other parameters are refused.
    progress : callable, bool or None
        None shows a bar in a terminal and in a notebook; False shows nothing; a callable gets every report.
    seed : int
        Of the count splitting.

    Returns
    -------
    Dataset or DataTree
        As from ``nmf``, and the curves behind the choices: ``bin_score``, ``phases_score``,
        ``smooth_score``; the chosen values are attributes ``bin``, ``smooth``. With elements, also
        ``composition(phase, element)`` in atomic fraction with ``composition_std``, and the calibration in
        the attributes. A collection gives a DataTree.

    Examples
    --------
    >>> import edxdask
    >>> cube = edxdask.simulate("mantle", shape=(32, 32), counts=100)
    >>> result = edxdask.psnmf(cube, phases=["Brg", "Fp", "CaPv"], bin=4, smooth=1.0)
    >>> result["abundance"].sizes["phase"], result["phase"].values.tolist()
    (3, ['Brg', 'Fp', 'CaPv'])
    """
    _check(bin, smooth, prior, max_iter, closure)
    wanted = WantedPhases.of(phases)
    for name, labels in (("absent", absent), ("compositions", compositions)):
        wanted.check_labels(name, labels or {})
    request = physics_request(elements, absent, compositions, wanted.number, refine_axis)
    demand = _demand(data, wanted.number, bin, smooth)
    with (
        shown(progress, "psnmf") as hook,
        photons_of(
            data, step="psnmf", demand=demand, workers=workers, memory_limit=memory_limit, cache=cache
        ) as problem,
    ):
        physics = request.identity(problem) if request else ""
        identity = problem.identity("psnmf", seed=seed, physics=physics)
        kept = KeptSteps(Path(checkpoint) if checkpoint else None, identity)
        guide = _guide(request, problem, bin)
        run = Run.of(problem, wanted, guide, kept, seed, hook)
        unmixed = unmix(run, data, PsnmfOptions(bin, smooth, prior, closure, StopRule(max_iter, tol)))
        named = _said(absent, compositions, refine_axis=refine_axis, prior=prior, closure=closure)
        result = _labelled(run, unmixed, named, closure)
    kept.forget()
    return cast(OneOrMany, result)


def _guide(request: PhysicsRequest | None, problem: Problem, bin: int | None) -> Guide | None:
    if request is None:
        return None
    return request.guide(problem, list(spectra_of_regions(problem, bin)) if request.finds else ())


def _said(absent: Absent | None, compositions: Compositions | None, **settings: object) -> str:
    """Say for the history what the user knew, and settings that are not the usual ones."""
    usual = {"refine_axis": True, "prior": "tv", "closure": "counts"}
    known = {"absent": absent, "compositions": compositions}
    given: dict[str, object] = {name: dict(value) for name, value in known.items() if value}
    given |= {name: value for name, value in settings.items() if value != usual[name]}
    return "".join(f", {name}={value!r}" for name, value in given.items())


def _labelled(run: Run, unmixed: Unmixed, named: str, closure: Closure) -> Data:
    found, maps = unmixed.found, unmixed.maps
    curves = {"bin": unmixed.choices.bin, "phases": unmixed.choices.phases, "smooth": unmixed.strength}
    factor, strength = int(curves["bin"].chosen), float(curves["smooth"].chosen)
    attrs: dict[str, Any] = {
        schema.SEED: run.seed,
        schema.BIN: factor,
        schema.SMOOTH: strength,
        **run.problem.lowest_energy,
    }
    elements = None
    sizes = phase_sizes(maps.abundance)
    if run.guide is not None:
        attrs |= calibration_attrs(run.guide)
        elements = None if run.guide.calibration.conditions.is_bulk else run.guide.elements
        order, names = np.arange(len(found.spectra)), found.labels or ()
    else:
        names = run.wanted.names or tuple(f"phase_{i}" for i in range(len(sizes)))
        by_size = np.argsort(-sizes, kind="stable")
        order = np.array(run.wanted.rows_by_name(sizes, {})) if run.wanted.names else by_size
        found = found.in_order(order)
    brightest, largest = brightest_pixels(maps.abundance)[order], largest_fractions(maps.abundance)[order]
    least = found.composition_low
    none = phases_that_are_none(names, found.spectra, sizes[order], brightest, largest, least)
    if found.flat_tops is not None and found.flat_tops.size:
        attrs[schema.FLAT_TOPS] = [names[row] for row in found.flat_tops]
    # without a prior nothing is known of a pixel that has no photons
    known = fractions_without_photons(maps.abundance) if strength > 0 and closure == "counts" else None
    made = "" if run.guide is None else f"elements={','.join(run.guide.elements)}, "
    result = make_result(
        run.problem.maps,
        found.spectra,
        gather_abundance(maps.abundance, order),
        maps.objectives,
        phases=names,
        attrs=attrs,
        entry=f"psnmf(phases={len(found.spectra)}, {made}bin={factor}, smooth={strength:.4g}{named})",
        warnings=[*run.problem.warnings, *found.notes, *none, *number_warnings(curves["phases"])],
        without_photons=None if known is None else (known[0], known[1][:, order]),
    )
    if run.guide is not None:
        result = with_composition(result, run.guide, found)
    shown = {k: v for name, curve in curves.items() for k, v in curve.variables(name).items()}
    return with_open(with_shared(result, shown), found, elements)


def _demand(data: Data, phases: int | None, bin: int | None, smooth: float | None) -> Demand:
    """Memory beside the photons: maps of all pixels at the end, and before that copies of the photons."""
    views = maps_of(data)
    stacks, channels = [view.stack for view in views], views[0].cube.sizes[schema.ENERGY]
    if phases is not None:
        require_phases(phases, sum(stack.pixels for stack in stacks), channels)
    _check_bins(bin, stacks, phases or 1)
    most, widest = phases or MOST_PHASES, max(stack.width for stack in stacks)
    part = window_of(data)
    window = None if part is None else int(np.prod([part.sizes[d] for d in schema.pixel_dims(part)]))
    own = () if window is None else (PhotonCopy(pixels=window),)
    bins = CopySet((*own, PhotonCopy(bin or EXPECTED_BIN)), bin_bytes(most))
    chosen = bin is None or phases is None or smooth is None
    return Demand(
        map_bytes(most),
        6 * most * channels * 8 + 4 * scratch_floats(most, widest),
        4 * halo_floats(most, widest),
        (bins, *(copies_for_choices(window, most) if chosen else ())),
        CODE,
    )


def _check_bins(bin: int | None, stacks: list[ImageStack], phases: int) -> None:
    def bins(factor: int) -> int:
        return sum(s.images * -(-s.rows // factor) * -(-s.width // factor) for s in stacks)

    if bin is not None and bins(bin) < BINS_PER_PHASE * phases:
        most = max((b for b in range(1, bin) if bins(b) >= BINS_PER_PHASE * phases), default=1)
        raise ParameterError(
            "bin", bin, f"at most {most}: {phases} phases cannot be separated in {bins(bin)} bins"
        )


def _check(bin: int | None, smooth: float | None, prior: str, max_iter: int, closure: str) -> None:
    checked_kind(prior, name="prior")
    if closure not in ("counts", "thickness"):
        raise ParameterError("closure", closure, "'counts' or 'thickness'")
    if bin is not None and (isinstance(bin, bool) or not isinstance(bin, int | np.integer) or bin < 1):
        raise ParameterError("bin", bin, "a whole number of pixels of at least 1, or None to find it")
    if smooth is not None and not (isinstance(smooth, int | float | np.number) and smooth >= 0):
        raise ParameterError("smooth", smooth, "a strength of at least 0, or None to find it")
    if max_iter < 1:
        raise ParameterError("max_iter", max_iter, "at least 1")
