"""NMF-aided unmixing: masks of precipitates, sums over many maps, compositions with errors that hold.

After H. Chen et al., Ultramicroscopy (2024) 113981: precipitates are masked, the matrix is everything else,
and a precipitate's pure spectrum is that of its mask less the matrix, scaled on an element that it cannot
hold. Beside this subtraction stands the pinned-core fit, a likelihood of all groups of pixels together, in
which the core of the matrix holds nothing else: it is unbiased, and as precise as the counts allow.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import xarray as xr

from edxdask import schema
from edxdask.errors import CorruptStoreError, ParameterError
from edxdask.factorize.fcls import fcls
from edxdask.factorize.guidance.guide import Absent
from edxdask.factorize.psnmf import psnmf
from edxdask.physics.ionisation import check_thin_film
from edxdask.progress import Progress, ProgressHook, ProgressOption, shown
from edxdask.results.collections import OneOrMany, cubes_in
from edxdask.unmix.aided_fit import AidedFit, fit_maps
from edxdask.unmix.aided_result import labelled
from edxdask.unmix.grouped_maps import Reading
from edxdask.unmix.kept_phases import forget_phases, phases_kept_or_made
from edxdask.unmix.known_phases import KnownPhases, check_absences, known_phases
from edxdask.unmix.masked_maps import MaskedMap, check_maps, read_masked
from edxdask.unmix.masks import MaskPlan, Method, plan_masks
from edxdask.unmix.masks_abundance import LEVEL
from edxdask.unmix.rings import REACH
from edxdask.unmix.verdicts import UNREAD

logger = logging.getLogger(__name__)


def aided(
    data: OneOrMany,
    *,
    matrix: str | int,
    absent: Absent,
    result: xr.Dataset | xr.DataTree | None = None,
    elements: Sequence[str] | str | None = None,
    masks: Method = "potts",
    threshold: float = LEVEL,
    user_masks: Mapping[str, Any] | None = None,
    core: int | None = None,
    leave_out: bool = False,
    refine_axis: bool = True,
    workers: int | None = None,
    memory_limit: str | float | None = None,
    cache: str | Path | None = None,
    checkpoint: str | Path | None = None,
    progress: ProgressOption = None,
    seed: int = 0,
) -> OneOrMany:
    """Unmix a map, or a collection, with masks of its precipitates: compositions from photons of all maps.

    Runs on the active dask Client if there is one, else on threads. Each map is calibrated for itself, so
    energy axes, pixel sizes, films and detectors may differ from map to map.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube over y and x, or collection of cubes.
    matrix : str or int
        Phase around the others, by label or number.
    absent : dict
        Elements that each precipitate cannot hold and the matrix does, ``{"Fp": "Si", "CaPv": "Mg"}``.
    result : Dataset or DataTree, optional
        Phases, from ``psnmf`` or ``nmf``; None finds them with ``psnmf``.
    elements : list of str, optional
        All elements of the sample; None takes those of the result or the data.
    masks : str or dict
        How precipitates are found: "potts" (photons; a cut that takes neighbours into account), "threshold",
        "otsu", "kmeans" or "grabcut" (abundance maps); or by phase, ``{"Fp": "otsu", "CaPv": "potts"}``.
        "potts" and "grabcut" need the extra ``masks``.
    threshold : float
        Abundance above which "threshold" sees a precipitate.
    user_masks : dict, optional
        Masks that you bring, by phase: a PNG, TIFF or .npy file, or an array (y, x); of a collection by name
        of the map. Zero (black) is outside.
    core : int, optional
        Pixels of the matrix that are farther than this (px) from all masks are taken to be pure; None chooses
        it from the data.
    leave_out : bool
        Do without the maps of a collection that do not belong to the others; they are named in any case.
    refine_axis : bool
        Find offset and gain of each map's energy axis and the width of its peaks.
    workers : int, optional
        Threads; None takes one per processor that this program may use. A cluster has its own number.
    memory_limit : str or float, optional
        Such as "6GiB"; photons that do not fit go to a cache on local disk.
    cache : path, optional
        Folder of that cache.
    checkpoint : path, optional
        Folder in which finished steps of ``psnmf`` are kept, where it runs, and then its phases until all is
        done: the same call goes on there.
    progress : callable, bool or None
        None shows a bar in a terminal and in a notebook; False shows nothing; a callable gets every report.
    seed : int
        Of ``psnmf``, where it runs.

    Returns
    -------
    Dataset or DataTree
        As from ``psnmf``, the matrix first: ``abundance`` (fully constrained least squares), ``total``,
        ``spectrum``, and ``composition`` with ``composition_std`` of the pinned-core fit. Beside these
        ``composition_subtracted`` and ``spectrum_subtracted`` of the published subtraction, with errors; and
        ``mask``, ``core`` and ``mask_overlap`` of every map. Attributes say how wide the core is, and why. A
        collection also has what ``judge`` says of each map (``map_t1``, ``map_t2``, ``map_belongs``).

    Notes
    -----
    *Chunks.* Photons of each map are read twice: for masks and sums, and for abundances. Its cost follows the
    photons; one map is in memory at a time.

    Examples
    --------
    >>> import edxdask
    >>> ds = edxdask.simulate(shape=(48, 48), counts=100, seed=2)
    >>> elements = ["O", "Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "U", "Cu"]
    >>> absent = {"Fp": "Si", "CaPv": "Mg"}
    >>> phases = ["Brg", "Fp", "CaPv"]
    >>> res = edxdask.psnmf(ds, phases=phases, elements=elements, absent=absent, bin=4, smooth=1.0)
    >>> un = edxdask.aided(ds, matrix="Brg", absent=absent, result=res, masks="otsu")
    >>> x = un.composition.sel(phase="Brg", element="Mg")
    >>> bool(abs(x - 0.184) < 0.01)
    True
    """
    _check(core, threshold)
    cubes, folder = cubes_in(data), None if checkpoint is None else Path(checkpoint)
    with shown(progress, "aided") as hook:
        early = None if result is not None else plan_masks(data, list(map(str, absent)), masks, user_masks)
        if result is None:
            result = _own_phases(
                data, cubes, matrix, absent, elements, folder, refine_axis=refine_axis, workers=workers,
                memory_limit=memory_limit, cache=cache, seed=seed,
            )  # fmt: skip
        known = known_phases(result, matrix, absent, elements=elements, refine_axis=refine_axis)
        plan = early or plan_masks(data, known.precipitates, masks, user_masks)
        check_maps(cubes, known, plan)
        _check_beams(cubes)
        reading = Reading(workers, memory_limit, cache)
        unread: dict[str, str] | None = {} if leave_out and len(cubes) > 1 else None
        masked = _masked(cubes, known, plan, threshold, core, reading, hook, unread)
        plan.check({name: one.regions for name, one in masked.items()})
        masked, fit = _fitted(masked, known, core, unread, hook)
        fractions = _fractions({name: cubes[name] for name in masked}, fit, known, reading, hook)
    entry = (
        f"aided(matrix={known.matrix!r}, absent={dict(absent)}, masks={plan.text}, core={fit.choice.width})"
    )
    attrs = {schema.MASK_METHODS: plan.text}
    forget_phases(folder)
    return cast(OneOrMany, labelled(data, cubes, masked, fractions, fit, known, entry=entry, attrs=attrs))


def _check(core: int | None, threshold: float) -> None:
    if core is not None and (isinstance(core, bool) or not isinstance(core, int) or core < 0):
        raise ParameterError("core", core, "a whole number of pixels of at least 0, or None to choose it")
    if not 0 < threshold < 1:
        raise ParameterError("threshold", threshold, "an abundance between 0 and 1")


def _check_beams(cubes: Mapping[str, xr.Dataset]) -> None:
    """Refuse maps whose atoms cannot be counted."""
    for cube in cubes.values():
        if schema.BEAM_ENERGY in cube.attrs:
            check_thin_film(float(cube.attrs[schema.BEAM_ENERGY]), "psnmf unmixes it without compositions.")


def _own_phases(
    data: OneOrMany,
    cubes: Mapping[str, xr.Dataset],
    matrix: str | int,
    absent: Absent,
    elements: Sequence[str] | str | None,
    folder: Path | None,
    **options: Any,
) -> OneOrMany:
    """Find the phases with ``psnmf``; names are those of the matrix and of what is absent."""
    named = elements if elements is not None else next(iter(cubes.values())).attrs.get(schema.ELEMENTS)
    if not named:
        raise ParameterError(
            "elements",
            elements,
            "the elements of the sample, where no result names them",
            "List them: elements=[...].",
        )
    labels = [matrix, *absent]
    if not all(isinstance(label, str) for label in labels):
        raise ParameterError(
            "matrix", matrix, "names of phases, where psnmf has yet to find them", "Or pass its result."
        )
    names = [str(label) for label in labels]
    if len(names) < 2:
        raise ParameterError("absent", dict(absent), "a precipitate or more, and what each cannot hold")
    check_absences(names[0], names[1:], absent)

    def make(own: Path | None) -> OneOrMany:
        return psnmf(data, phases=names, elements=named, absent=absent, checkpoint=own, **options)

    of = {"phases": names, "elements": named, "absent": absent}
    same = {name: options[name] for name in ("refine_axis", "seed")}
    return phases_kept_or_made(folder, cubes, {**of, **same}, make)


def _masked(
    cubes: Mapping[str, xr.Dataset],
    known: KnownPhases,
    plan: MaskPlan,
    threshold: float,
    core: int | None,
    reading: Reading,
    hook: ProgressHook | None,
    unread: dict[str, str] | None,
) -> dict[str, MaskedMap]:
    """Read every map once, for its masks and the sums of its groups; ``unread`` gets damaged ones."""
    seen = known.fractions.only(cubes if plan.needs_abundances else ())
    rules = plan.rules(known.names, seen.values(), threshold)
    made = {}
    for done, (name, cube) in enumerate(cubes.items(), start=1):
        reach = max(REACH, core or 0)
        try:
            made[name] = read_masked(cube, name, known, plan, rules, reach=reach, reading=reading)
        except CorruptStoreError as error:
            if unread is None or len(unread) == len(cubes) - 1:
                fix = "; leave_out=True does without this map" if len(cubes) > 1 else ""
                raise CorruptStoreError(f"{error}{fix}") from error
            unread[name] = f"{UNREAD}: {error}"
        if hook:
            hook(Progress("masks and sums", done, len(cubes), "map"))
    return made


def _fitted(
    masked: dict[str, MaskedMap],
    known: KnownPhases,
    core: int | None,
    unread: dict[str, str] | None,
    hook: ProgressHook | None,
) -> tuple[dict[str, MaskedMap], AidedFit]:
    """Fit the maps; if maps may be left out, once more without those that do not belong to the others."""
    fit = fit_maps(list(masked.values()), known, core, unread, hook)
    leave_out, strangers = unread is not None, fit.strangers
    kept = {name: one for name, one in masked.items() if name not in strangers}
    if leave_out and strangers and kept:
        fit = replace(fit_maps(list(kept.values()), known, core), verdicts=fit.verdicts)
        masked = kept
    fate = "and is left out" if leave_out else "leave_out=True does without it"
    texts = [f"map {name!r} does not belong to the others, {fate}: {why}" for name, why in strangers.items()]
    fit = replace(fit, warnings=(*texts, *known.left_open.warnings, *fit.warnings))
    logger.info("aided: %s", fit.choice.text)
    for text in fit.warnings:
        logger.warning("aided: %s", text)
    return masked, fit


def _fractions(
    cubes: Mapping[str, xr.Dataset],
    fit: AidedFit,
    known: KnownPhases,
    reading: Reading,
    hook: ProgressHook | None,
) -> dict[str, xr.Dataset]:
    """Find the abundances of every map, for the spectra on its own axis."""
    found = {}
    for done, (name, cube) in enumerate(cubes.items(), start=1):
        spectra = xr.DataArray(
            fit.spectra[name],
            {schema.PHASE: list(known.names), schema.ENERGY: cube[schema.ENERGY]},
            (schema.PHASE, schema.ENERGY),
        )
        found[name] = fcls(
            cube,
            spectra,
            workers=reading.workers,
            memory_limit=reading.memory_limit,
            cache=reading.cache,
            precision="single",
            progress=False,
        )
        if hook:
            hook(Progress("abundances", done, len(cubes), "map"))
    return found
