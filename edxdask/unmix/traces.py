"""Traces of elements: is it really there? Amounts with errors, SNR and limits, against pixels summed.

All lines of an element are fitted jointly, in all maps, with the core of the matrix pinned (``pinned``): that
gives amounts and errors. SNR and limits of detection are those of its best line, as published
(``detection``).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask._version import __version__
from edxdask.errors import ParameterError
from edxdask.factorize.guidance.guide import Absent
from edxdask.progress import Progress, ProgressHook, ProgressOption, shown
from edxdask.unmix.cautions import film_not_known
from edxdask.unmix.detection import best_of_each, main_lines
from edxdask.unmix.grouped_maps import GroupedMap, Reading, calibrated
from edxdask.unmix.growth import GrowthStep, root_law
from edxdask.unmix.inputs import PhasesOfMaps, chosen_elements, phases_of_maps
from edxdask.unmix.judge import fraction_names, verdicts_of
from edxdask.unmix.known_phases import label_of
from edxdask.unmix.other_lines import by_other_lines
from edxdask.unmix.trace_fits import FittedMaps, TraceWork
from edxdask.unmix.verdicts import MapVerdict

ALL_MAPS = "all maps"
ONE_MAP = "map"  # name of a map that is in no collection
SIGMAS = 3.0  # at which an element counts as seen
PPM = 1e6
STD = schema.STD_SUFFIX

logger = logging.getLogger(__name__)


def traces(
    data: xr.Dataset | xr.DataTree,
    *,
    result: xr.Dataset | xr.DataTree,
    phase: str | int,
    elements: Sequence[str] | str | None = None,
    matrix: str | int | None = None,
    absent: Absent | None = None,
    margin: float | None = None,
    leave_out: bool = False,
    workers: int | None = None,
    memory_limit: str | float | None = None,
    cache: str | Path | None = None,
    progress: ProgressOption = None,
) -> xr.Dataset:
    """Find how much of an element a phase holds, with what certainty, and what more photons would give.

    The photons of every map are summed in groups: the core of the matrix, where other phases are exactly
    zero; rings around the precipitates; bins of their abundance. Compositions common to all maps are fitted
    to all groups, each map on its own energy axis. Without such a core, abundances have a floor of some 0.1 %
    that takes traces away from the matrix.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube, or collection of cubes.
    result : Dataset or DataTree
        Of ``aided``, whose masks are used, or of ``psnmf`` with elements: then masks are where abundances are
        above 0.1.
    phase : str or int
        Phase that holds the traces, by label or number.
    elements : list of str, optional
        Elements to report; None reports all of the result.
    matrix : str or int, optional
        Phase around the precipitates; None takes the one that fills most pixels.
    absent : dict, optional
        Elements that a phase cannot hold, ``{"Fp": "Si"}``; None takes what the result's own fit ruled out.
    margin : float, optional
        Pixels from every mask beyond which there is nothing of a precipitate; None takes that of the result
        (``core_width_px``), at least 2.
    leave_out : bool
        Leave out maps that do not belong to the collection. They are named in the attribute ``warnings`` in
        any case, with the reason.
    workers : int, optional
        Threads; None takes one per processor that this program may use. A cluster has its own number.
    memory_limit : str or float, optional
        Such as "6GiB"; photons that do not fit go to a cache on local disk.
    cache : path, optional
        Folder of that cache.
    progress : callable, bool or None
        None shows a bar in a terminal and in a notebook; False shows nothing; a callable gets every report.

    Returns
    -------
    Dataset
        By map, with "all maps" at the end, and element: ``atomic_ppm`` with ``atomic_ppm_std``, of which
        ``atomic_ppm_spread`` does not fall with more photons: what the result leaves open, and what families
        of lines of one element contradict each other by;
        ``trace_significance`` (their ratio), ``trace_snr`` and ``trace_lod_ppm`` of the best line, and
        ``measure_longer``, the factor on the photons that 3 sigma would take. By step of summed pixels and
        maps: ``growth_snr``, ``growth_ppm``. By element: ``snr_per_root_pixel`` and ``snr_exponent`` (0.5 if
        the SNR grows with the root of the pixels). By map, how well it belongs to the others: ``map_t1``,
        ``map_t2``, ``map_excess_per_photon``, ``map_belongs``.

    Notes
    -----
    Errors are those of counting, with all that the counts leave open of other elements, other phases and the
    continuum; not those of the tables that say how many photons an atom gives, nor of a film whose thickness
    and density the attributes do not say: then a warning does.

    *Chunks*: every map is read once. Groups, some hundred spectra for each map, stay in memory.

    Examples
    --------
    >>> import edxdask
    >>> cube = edxdask.simulate(shape=(48, 48), counts=150, channels=700)
    >>> elements = ["O", "Mg", "Al", "Si", "Ca", "Fe", "Cu"]
    >>> known = {"elements": elements, "absent": {"Fp": "Si"}, "bin": 4, "smooth": 1.0}
    >>> found = edxdask.psnmf(cube, phases=["Brg", "Fp"], **known)
    >>> seen = edxdask.traces(cube, result=found, phase="Brg", elements=["Al"])
    >>> seen["map"].values.tolist(), bool(abs(seen.atomic_ppm[0, 0] - 15e3) < 4e3)
    (['map', 'all maps'], True)
    """
    given = phases_of_maps(data, result, matrix=matrix, absent=absent, margin=margin)
    wanted = chosen_elements(elements, given.request)
    row = given.phases.index(label_of(phase, given.phases, "phase"))
    reading = Reading(workers, memory_limit, cache)
    layouts = {name: given.layout(name) for name in given.cubes}
    _check_core(given, layouts)
    with shown(progress, "traces") as hook:
        sums, failed = given.read(layouts, reading, step="traces", progress=hook)
        if not sums:
            raise ParameterError("data", list(failed), f"a map that can be read: {failed}")
        maps, uncalibrated = calibrated(sums, given.request)
        failed |= uncalibrated
        work = TraceWork(given, row, tuple(wanted), tuple(main_lines(wanted, maps)))
        alone = [work.fit([one]) for one in _counted(maps, hook)]
        names = fraction_names(given.request.elements, given.phases)
        verdicts = verdicts_of(maps, [one.fit for one in alone], failed, names)
        inside = [verdicts[one.name].belongs for one in maps]
        if leave_out and not all(inside):
            kept = [one.name for one, good in zip(maps, inside, strict=True) if good]
            if not kept:
                raise ParameterError("leave_out", True, "a map that belongs; none does", "leave_out=False")
            maps, _ = calibrated([one for one in sums if one.name in kept], given.request)
            alone = [work.fit([one]) for one in _counted(maps, hook)]
        whole = alone[0] if len(maps) == 1 else work.fit(maps)
        told, names = [given.phases[row]], list(given.request.elements)
        others = by_other_lines(maps, given.phases, names, whole.fit, work.present, told)
        others = replace(others, spread=np.hypot(others.spread, given.left_open.spread))
        doubts = [*given.left_open.about(given.phases[row]), *others.warnings]
        attrs = _attrs(given, given.phases[row], verdicts, maps, leave_out, doubts)
        return _labelled(work, alone, whole, others.spread, verdicts, attrs)


def _counted(maps: Sequence[GroupedMap], hook: ProgressHook | None) -> Iterator[GroupedMap]:
    """Yield maps, and report those that are done."""
    for done, one in enumerate(maps, start=1):
        yield one
        if hook:
            hook(Progress("fits", done, len(maps), "map"))


def _check_core(given: PhasesOfMaps, layouts: dict[str, Any]) -> None:
    if not any(layout.core.any() for layout in layouts.values()):
        raise ParameterError(
            "margin",
            given.margin,
            f"pixels of {given.matrix!r} farther than that from all precipitates; there are none",
            "Take a smaller one: margin=1.",
        )


def _labelled(
    work: TraceWork,
    alone: Sequence[FittedMaps],
    whole: FittedMaps,
    spread: np.ndarray,
    verdicts: Mapping[str, MapVerdict],
    attrs: Mapping[str, Any],
) -> xr.Dataset:
    """Put everything in a Dataset."""
    columns = [*alone, whole]
    best = best_of_each(work.elements, work.lines, whole.peaks)
    ppm = PPM * np.array([one.fit.composition[work.phase, work.rows] for one in columns])
    apart = PPM * spread[work.phase, work.rows]
    counting = PPM * np.array([one.fit.errors[work.phase, work.rows] for one in columns])
    std = np.hypot(counting, apart)
    with np.errstate(divide="ignore", invalid="ignore"):
        significance = np.where(std > 0, ppm / std, np.nan)
        left = (ppm / SIGMAS) ** 2 - apart**2  # what more photons leave as it is
        longer = np.where((left > 0) & (ppm > 0), counting**2 / left, np.nan)
    growth = work.growth(whole.maps)
    peaks = [one.peaks.at(best) for one in columns]
    per_map, by_map, by_element = (schema.MAP, schema.ELEMENT), (schema.MAP,), (schema.ELEMENT,)
    judged = [verdicts[one.maps[0].name] for one in alone]
    values: dict[str, tuple[tuple[str, ...], Any]] = {
        schema.ATOMIC_PPM: (per_map, ppm),
        schema.ATOMIC_PPM + STD: (per_map, std),
        schema.ATOMIC_PPM_SPREAD: (by_element, apart),
        schema.TRACE_SIGNIFICANCE: (per_map, significance),
        schema.TRACE_SNR: (per_map, [one.snr for one in peaks]),
        schema.TRACE_LOD: (per_map, [PPM * one.lod for one in peaks]),
        schema.MEASURE_LONGER: (per_map, longer),
        schema.TRACE_LINE: (by_element, ["" if i is None else work.lines[i].name for i in best]),
        schema.TRACE_PIXELS: (by_map, [one.pixels for one in columns]),
        schema.TRACE_PHOTONS: (by_map, [one.photons for one in columns]),
        schema.MAP_T1: (by_map, [*(one.t1 for one in judged), np.nan]),
        schema.MAP_SIGMA: (by_map, [*(one.sigma for one in judged), np.nan]),
        schema.MAP_FRACTION: (by_map, [*(one.fraction for one in judged), ""]),
        schema.MAP_T2: (by_map, [*(one.t2 for one in judged), np.nan]),
        schema.MAP_EXCESS: (by_map, [*(one.excess for one in judged), np.nan]),
        schema.MAP_BELONGS: (by_map, [*(one.belongs for one in judged), True]),
        **_growth_variables(work, growth, best),
    }
    names = [*(one.maps[0].name or ONE_MAP for one in alone), ALL_MAPS]
    coords = {schema.MAP: names, schema.ELEMENT: list(work.elements)}
    variables = {name: (dims, np.asarray(value), _described(name)) for name, (dims, value) in values.items()}
    return xr.Dataset(variables, coords=coords, attrs=dict(attrs))


def _growth_variables(
    work: TraceWork, growth: Sequence[GrowthStep], best: Sequence[int | None]
) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Amounts and SNR against what is summed, and the law of the SNR."""
    steps = [replace(step, peaks=step.peaks.at(best)) for step in growth]
    law = root_law(steps)
    per_step, by_step, by_element = (
        (schema.GROWTH_STEP, schema.ELEMENT),
        (schema.GROWTH_STEP,),
        (schema.ELEMENT,),
    )
    return {
        schema.GROWTH_PIXELS: (by_step, [step.pixels for step in steps]),
        schema.GROWTH_MAPS: (by_step, [float(step.maps) for step in steps]),
        schema.GROWTH_SNR: (per_step, [step.peaks.snr for step in steps]),
        schema.GROWTH_PPM: (per_step, [PPM * step.composition[work.rows] for step in steps]),
        schema.GROWTH_PPM + STD: (per_step, [PPM * step.errors[work.rows] for step in steps]),
        schema.SNR_PER_ROOT_PIXEL: (by_element, law.per_root),
        schema.SNR_EXPONENT: (by_element, law.exponent),
        schema.SNR_EXPONENT + STD: (by_element, law.exponent_std),
    }


def _described(name: str) -> dict[str, str]:
    """Units and meaning of a variable, or of its error."""
    attrs = schema.variable_attrs(name.removesuffix(STD))
    if name.endswith(STD):
        attrs["long_name"] = f"standard error of: {attrs['long_name']}"
    return attrs


def _attrs(
    given: PhasesOfMaps,
    phase: str,
    verdicts: Mapping[str, MapVerdict],
    maps: Sequence[GroupedMap],
    out: bool,
    doubts: Sequence[str],
) -> dict[str, Any]:
    """Attributes: the phase, how it was done, and what a person should know."""
    wrong = [one for one in verdicts.values() if not one.belongs]
    done = "it was left out" if out else "leave_out=True leaves it out"
    texts = [
        f"map {one.name or ONE_MAP!r} does not belong to the others: {one.reason}; "
        + (done if one.t2 == one.t2 else "it was left out")
        for one in wrong
    ]
    texts += [text for one in maps for text in one.warnings]
    for text in [*texts[: len(wrong)], *doubts]:
        logger.warning("%s", text)
    texts += list(doubts)
    texts += film_not_known(given.cubes)
    first = next(iter(given.cubes.values()))
    entry = f"traces(phase={phase!r}, matrix={given.matrix!r}, margin={given.margin:g})"
    kept = {k: v for k, v in first.attrs.items() if k in (schema.TITLE, schema.BEAM_ENERGY)}
    kept[schema.HISTORY] = list(given.history)
    return {
        **schema.with_history(kept, entry),
        schema.PHASE: phase,
        schema.CORE_WIDTH: given.margin,
        schema.ELEMENTS: list(given.request.elements),
        schema.EDXDASK_VERSION: __version__,
        **({schema.WARNINGS: list(dict.fromkeys(texts))} if texts else {}),
    }
