"""``profile``: composition against the distance from a phase, or along a line, with errors."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.factorize.guidance.guide import Absent
from edxdask.progress import ProgressOption, shown
from edxdask.unmix.cautions import film_not_known
from edxdask.unmix.grouped_maps import Reading, calibrated, fit_grouped
from edxdask.unmix.groups import NONE, GroupLayout
from edxdask.unmix.inputs import PhasesOfMaps, chosen_elements, phases_of_maps
from edxdask.unmix.known_phases import label_of
from edxdask.unmix.regions import distances_of

logger = logging.getLogger(__name__)

Point = tuple[float, float]
FARTHEST_PX, STEP_PX, WIDTH_PX = 12.0, 1.0, 3.0
ALONG = "along"
TRACE = 2e-3  # atomic fraction below which a film that nobody described decides on an amount
LEAST_PHOTONS = 200  # in a part of a profile, for a composition


def profile(
    data: xr.Dataset | xr.DataTree,
    *,
    result: xr.Dataset | xr.DataTree,
    feature: str | int | None = None,
    line: tuple[Point, Point] | None = None,
    elements: Sequence[str] | str | None = None,
    step: float = STEP_PX,
    farthest: float = FARTHEST_PX,
    width: float = WIDTH_PX,
    matrix: str | int | None = None,
    absent: Absent | None = None,
    workers: int | None = None,
    memory_limit: str | float | None = None,
    cache: str | Path | None = None,
    progress: ProgressOption = None,
) -> xr.Dataset:
    """Find the mean composition of pixels at a distance from a phase, or along a line.

    Each part of the profile is one sum spectrum over all maps, fitted with all lines of all elements.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube, or collection of cubes.
    result : Dataset or DataTree
        Of ``aided``, whose masks are used, or of ``psnmf`` with elements.
    feature : str or int, optional
        Phase from whose mask distances count: above 0 outside, below 0 inside, and without pixels of other
        precipitates outside. A matrix has no mask.
    line : ((y, x), (y, x)), optional
        Ends of a line in pixels, instead of ``feature``; in one map.
    elements : list of str, optional
        Elements to report, as fractions of all atoms; None reports all.
    step : float
        Length of a part in pixels.
    farthest : float
        Largest distance from the feature in pixels.
    width : float
        Width of the line in pixels.
    matrix : str or int, optional
        Phase around the precipitates; None takes the one that fills most pixels.
    absent : dict, optional
        Elements that a phase cannot hold; None takes what the result's own fit ruled out.
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
        ``profile_composition`` and ``profile_composition_std`` over (distance, element), atomic fractions;
        ``profile_pixels`` over distance. Parts with fewer than 200 photons are left out.

    Examples
    --------
    >>> import edxdask
    >>> cube = edxdask.simulate(shape=(48, 48), counts=150, channels=700)
    >>> elements = ["O", "Mg", "Al", "Si", "Ca", "Fe", "Cu"]
    >>> known = {"elements": elements, "absent": {"Fp": "Si"}, "bin": 4, "smooth": 1.0}
    >>> found = edxdask.psnmf(cube, phases=["Brg", "Fp"], **known)
    >>> iron = edxdask.profile(cube, result=found, feature="Fp", elements=["Fe"]).profile_composition
    >>> bool(iron.sel(distance=-2, method="nearest")[0] > 1.5 * iron[-1, 0])
    True
    """
    given = phases_of_maps(data, result, matrix=matrix, absent=absent)
    wanted = chosen_elements(elements, given.request)
    for name, value in (("step", step), ("farthest", farthest), ("width", width)):
        if not (np.isfinite(value) and value > 0):
            raise ParameterError(name, value, "a length in pixels above 0")
    parts = _parts(given, feature, line, step=step, farthest=farthest, width=width)
    with shown(progress, "profile") as hook:
        layouts = {name: _layout(label, len(parts.at)) for name, label in parts.labels.items()}
        alone = _as_parts(given, len(parts.at))
        reading = Reading(workers, memory_limit, cache)
        sums, unread = alone.read(layouts, reading, step="profile", progress=hook)
        if not sums:
            raise ParameterError("data", list(unread), f"a map that can be read: {unread}")
        maps, uncalibrated = calibrated(sums, alone.request)
        warnings = [f"map {n!r}: {why}; it was left out" for n, why in (unread | uncalibrated).items()]
        for text in warnings:
            logger.warning("%s", text)
        photons = np.sum([one.counts.sum(axis=1) for one in maps], axis=0)
        used = np.flatnonzero(photons >= LEAST_PHOTONS)
        if not used.size:
            raise ParameterError(
                "data", int(photons.max(initial=0)), f"parts of {LEAST_PHOTONS} photons or more"
            )
        kept = [
            replace(
                one,
                counts=one.counts[used],
                start=np.diag(one.counts[used].sum(axis=1)),
                layout=replace(one.layout, allowed=np.eye(used.size, dtype=bool), part=one.layout.part[used]),
                summed=one.pixels[used],
            )
            for one in maps
        ]
        names = [f"part {i}" for i in used]
        start = alone.composition[used]
        fit = fit_grouped(kept, names, start, np.ones(start.shape, bool))
    rows = [given.request.elements.index(element) for element in wanted]
    pixels = np.sum([one.pixels for one in kept], axis=0)
    if (fit.composition[:, rows].max(axis=0) < TRACE).any():
        warnings += film_not_known(given.cubes)
    found = _labelled(parts, used, fit.composition[:, rows], fit.errors[:, rows], pixels, wanted)
    return found.assign_attrs({schema.WARNINGS: warnings}) if warnings else found


@dataclass(frozen=True, eq=False)
class ProfileParts:
    """Parts of a profile.

    Attributes
    ----------
    at : (parts,) distance of the middle of each, px
    labels : (y, x) number of the part of every pixel, by map
    along : what the distance is measured from
    """

    at: np.ndarray
    labels: Mapping[str, np.ndarray]
    along: str


def _parts(
    given: PhasesOfMaps,
    feature: str | int | None,
    line: tuple[Point, Point] | None,
    *,
    step: float,
    farthest: float,
    width: float,
) -> ProfileParts:
    if (feature is None) == (line is None):
        raise ParameterError(
            "feature",
            feature,
            "a phase, or a line instead, one of the two",
            "feature='Fp', or line=((10, 0), (10, 40)).",
            typed_fix="As in --feature Fp, or --line 10,0:10,40.",
        )
    if line is not None:
        return _along_line(given, line, step, width)
    name = label_of(feature if feature is not None else "", given.phases, "feature")
    if name == given.matrix:
        known = ", ".join(repr(n) for n in given.phases if n != name)
        raise ParameterError("feature", name, f"a precipitate, {known}; the matrix has no mask")
    away: dict[str, np.ndarray] = {}
    for path, regions in given.regions.items():
        mask = regions.masks[regions.phases.index(name)]
        others = regions.masks.any(axis=0) & ~mask
        signed = np.where(mask, 1.0 - distances_of(~mask), distances_of(mask))
        away[path] = np.where(others, np.inf, signed)
    deepest = min((float(d.min()) for d in away.values()), default=0.0)
    first = int(np.floor((max(deepest, -farthest) - 0.5) / step))
    last = int(np.ceil(farthest / step))
    labels = {path: _numbers(np.ceil(d / step - 1e-9), first, last) for path, d in away.items()}
    at = (np.arange(first, last + 1) - 0.5) * step
    return ProfileParts(at, labels, f"distance from {name}")


def _numbers(index: np.ndarray, first: int, last: int) -> np.ndarray:
    inside = np.isfinite(index) & (index >= first) & (index <= last)
    return np.where(inside, np.where(inside, index, first) - first, NONE).astype(np.int32)


def _along_line(given: PhasesOfMaps, line: tuple[Point, Point], step: float, width: float) -> ProfileParts:
    if len(given.cubes) != 1:
        raise ParameterError(
            "line",
            line,
            "one map; this is a collection",
            "Pick one: tree['name'].to_dataset().",
            typed_fix="Take one map of the collection, STORE/NAME, with a name that edxdask info shows.",
        )
    ((path, cube),) = given.cubes.items()
    shape = (cube.sizes[schema.Y], cube.sizes[schema.X])
    try:
        ends = np.asarray(line, dtype=np.float64)
    except (TypeError, ValueError):
        ends = np.zeros(0)
    if ends.shape != (2, 2) or not np.isfinite(ends).all() or not np.hypot(*(ends[1] - ends[0])) > 0:
        raise ParameterError("line", line, "two different ends in pixels, y and x of each")
    if (ends < 0).any() or (ends > np.array(shape) - 1).any():
        raise ParameterError("line", line, f"ends within the map of {shape[0]} × {shape[1]} pixels")
    length = float(np.hypot(*(ends[1] - ends[0])))
    direction = (ends[1] - ends[0]) / length
    y, x = np.indices(shape) - ends[0][:, None, None]
    forward = y * direction[0] + x * direction[1]
    aside = np.abs(y * direction[1] - x * direction[0])
    number = int(np.ceil(length / step))
    index = np.where(
        (aside <= width / 2) & (forward >= 0) & (forward <= length), np.floor(forward / step), np.inf
    )
    labels = _numbers(np.minimum(index, np.where(np.isfinite(index), number - 1, np.inf)), 0, number - 1)
    return ProfileParts((np.arange(number) + 0.5) * step, {path: labels}, "distance along the line")


def _layout(label: np.ndarray, parts: int) -> GroupLayout:
    """Every part is a group, which holds a phase of its own and nothing else."""
    return GroupLayout(label, np.eye(parts, dtype=bool), np.full(parts, NONE))


def _as_parts(given: PhasesOfMaps, parts: int) -> PhasesOfMaps:
    """Give the same maps with one phase for each part, each to begin with of the mean composition."""
    filled = np.sum([one.sum(axis=(1, 2)) for one in given.fractions.values()], axis=0)
    mean = filled @ given.composition
    shape = {name: one.shape[1:] for name, one in given.fractions.items()}
    return replace(
        given,
        phases=tuple(f"part {i}" for i in range(parts)),
        request=replace(given.request, absent={}),
        composition=np.tile(mean / mean.sum(), (parts, 1)),
        fractions={name: np.broadcast_to(1.0, (1, *size)) for name, size in shape.items()},
    )


def _labelled(
    parts: ProfileParts,
    used: np.ndarray,
    values: np.ndarray,
    errors: np.ndarray,
    pixels: np.ndarray,
    elements: Sequence[str],
) -> xr.Dataset:
    name, dims = schema.PROFILE_COMPOSITION, (schema.DISTANCE, schema.ELEMENT)
    attrs = schema.variable_attrs(name)
    error_attrs = {**attrs, "long_name": f"standard error of: {attrs['long_name']}"}
    return xr.Dataset(
        {
            name: (dims, values, attrs),
            name + schema.STD_SUFFIX: (dims, errors, error_attrs),
            schema.PROFILE_PIXELS: ((schema.DISTANCE,), pixels, schema.variable_attrs(schema.PROFILE_PIXELS)),
        },
        coords={
            schema.DISTANCE: ((schema.DISTANCE,), parts.at[used], {"units": schema.PIXEL_UNIT}),
            schema.ELEMENT: list(elements),
        },
        attrs={ALONG: parts.along},
    )
