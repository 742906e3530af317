"""``judge``: which maps of a collection do not belong to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.factorize.guidance.guide import Absent
from edxdask.progress import Progress, ProgressOption, shown
from edxdask.unmix.grouped_maps import GroupedMap, Reading, calibrated, fit_grouped, present_in
from edxdask.unmix.inputs import phases_of_maps
from edxdask.unmix.pinned import PinnedFit
from edxdask.unmix.verdicts import MOST_T1, MOST_T2, MapVerdict, OwnFit, judge_maps

AT_MOST = "at_most"  # attribute of a figure by map: its limit for maps that belong


def judge(
    data: xr.DataTree,
    *,
    result: xr.Dataset | xr.DataTree,
    matrix: str | int | None = None,
    absent: Absent | None = None,
    margin: float | None = None,
    workers: int | None = None,
    memory_limit: str | float | None = None,
    cache: str | Path | None = None,
    progress: ProgressOption = None,
) -> xr.Dataset:
    """Judge for every map of a collection whether it belongs to the others.

    Each map is calibrated and fitted alone, and compared with all others. One with another composition, in
    all or in one element, another energy axis than its file says, or a thickness other than its attributes
    say, is named; one with few photons is not. A map whose counts are damaged on disk is named too.

    Parameters
    ----------
    data : DataTree
        Collection of cubes.
    result : DataTree
        Of ``aided``, or of ``psnmf`` with elements.
    matrix : str or int, optional
        Phase around the precipitates; None takes the one that fills most pixels.
    absent : dict, optional
        Elements that a phase cannot hold; None takes what the result's own fit ruled out.
    margin : float, optional
        Pixels from every mask beyond which there is nothing of a precipitate; None takes that of the result,
        at least 2.
    workers : int, optional
        Threads; None takes one per processor that this program may use.
    memory_limit : str or float, optional
        Such as "6GiB"; photons that do not fit go to a cache on local disk.
    cache : path, optional
        Folder of that cache.
    progress : callable, bool or None
        None shows a bar in a terminal and in a notebook; False shows nothing; a callable gets every report.

    Returns
    -------
    Dataset
        By map: ``map_t1`` (distance of its composition from that of the others, beside 1 if it belongs),
        ``map_sigma`` (largest difference of one element in one phase, in standard errors) and
        ``map_fraction`` (which that is), ``map_t2`` (chi-squared per channel of its own fit),
        ``map_excess_per_photon``, ``map_belongs``, and ``map_reason``, empty where it belongs.

    Examples
    --------
    >>> import edxdask
    >>> cubes = [edxdask.simulate(shape=(24, 24), counts=200, seed=seed) for seed in range(2)]
    >>> maps = edxdask.collect(dict(zip("ab", cubes)))
    >>> elements = ["O", "Mg", "Al", "Si", "Ca", "Fe", "Cu"]
    >>> known = {"elements": elements, "absent": {"Fp": "Si"}, "bin": 4, "smooth": 1.0}
    >>> found = edxdask.judge(maps, result=edxdask.psnmf(maps, phases=["Brg", "Fp"], **known))
    >>> found.map_belongs.values.tolist()
    [True, True]
    """
    given = phases_of_maps(data, result, matrix=matrix, absent=absent, margin=margin)
    if len(given.cubes) < 2:
        raise ParameterError("data", "one map", "a collection of two maps or more, which are compared")
    layouts = {name: given.layout(name) for name in given.cubes}
    with shown(progress, "judge") as hook:
        reading = Reading(workers, memory_limit, cache)
        sums, unread = given.read(layouts, reading, step="judge", progress=hook)
        maps, failed = calibrated(sums, given.request)
        present = present_in(given.request, given.phases)
        fits: list[PinnedFit] = []
        for done, one in enumerate(maps, start=1):
            fits.append(fit_grouped([one], given.phases, given.composition, present))
            if hook:
                hook(Progress("fits", done, len(maps), "map"))
    verdicts = verdicts_of(maps, fits, unread | failed, fraction_names(given.request.elements, given.phases))
    return labelled_verdicts([verdicts[name] for name in given.cubes])


def fraction_names(elements: Sequence[str], phases: Sequence[str]) -> list[str]:
    """Name all fractions, phase by phase.

    Examples
    --------
    >>> fraction_names(["Mg", "Fe"], ["Brg", "Fp"])
    ['Mg in Brg', 'Fe in Brg', 'Mg in Fp', 'Fe in Fp']
    """
    return [f"{element} in {phase}" for phase in phases for element in elements]


def verdicts_of(
    maps: Sequence[GroupedMap], fits: Sequence[PinnedFit], failed: Mapping[str, str], names: Sequence[str]
) -> dict[str, MapVerdict]:
    """Judge maps by fits of each of them alone; by name.

    Parameters
    ----------
    maps : sequence of GroupedMap
        Photons and bases.
    fits : sequence of PinnedFit
        Of each map alone.
    failed : mapping of str
        Why other maps cannot be read or calibrated, by name.
    names : sequence of str
        Of all fractions, phase by phase.
    """
    own = {
        one.name: OwnFit.of(fit, one.counts.shape[1] - one.first, float(one.counts.sum()))
        for one, fit in zip(maps, fits, strict=True)
    }
    return {verdict.name: verdict for verdict in judge_maps(own, names, failed)}


def labelled_verdicts(verdicts: list[MapVerdict]) -> xr.Dataset:
    """Put verdicts in a Dataset, by map.

    Examples
    --------
    >>> made = labelled_verdicts([MapVerdict("a", 1.1, 1.0, 0.0, True)])
    >>> made.map_t1.sel(map="a").item()
    1.1
    """
    values = {
        schema.MAP_T1: [one.t1 for one in verdicts],
        schema.MAP_SIGMA: [one.sigma for one in verdicts],
        schema.MAP_FRACTION: [one.fraction for one in verdicts],
        schema.MAP_T2: [one.t2 for one in verdicts],
        schema.MAP_EXCESS: [one.excess for one in verdicts],
        schema.MAP_BELONGS: [one.belongs for one in verdicts],
        schema.MAP_REASON: [one.reason for one in verdicts],
    }
    limits = {schema.MAP_T1: MOST_T1, schema.MAP_T2: MOST_T2}
    compared = [one.most_sigma for one in verdicts if np.isfinite(one.most_sigma)]
    limits |= {schema.MAP_SIGMA: compared[0]} if compared else {}
    variables = {
        name: (
            (schema.MAP,),
            np.asarray(value),
            schema.variable_attrs(name) | ({AT_MOST: limits[name]} if name in limits else {}),
        )
        for name, value in values.items()
    }
    return xr.Dataset(variables, coords={schema.MAP: [one.name for one in verdicts]})
