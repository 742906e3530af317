"""How far from the precipitates the matrix is pure: chosen from the data, and said in a sentence.

No edge is sharp: the beam spreads, grains lie under one another, masks miss a pixel. The element that
shows a precipitate best is its sentinel. Around the masks its content falls to that of the far field; there
the core begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edxdask.errors import ParameterError
from edxdask.unmix.rings import SEEN, Rings
from edxdask.unmix.subtraction import Amounts, MapSpectra, region_amounts

FAR_FRACTION = 0.25  # of the pixels outside masks that the far field has at least
MOST_SIGMA_RING, MOST_SIGMA_REST = 2.0, 1.0  # of a ring, and of all rings from it to the far field
LEAST_PIXELS = 50  # of a core


@dataclass(frozen=True, eq=False)
class RingCounts:
    """What the choice follows from: one map.

    Attributes
    ----------
    rings : groups of its pixels
    counts : (groups, E) of the usable channels
    columns : (M, E) of the matrix
    """

    rings: Rings
    counts: np.ndarray
    columns: np.ndarray


@dataclass(frozen=True, eq=False)
class Profile:
    """Content of one precipitate's sentinel around its masks.

    Attributes
    ----------
    phase, element : precipitate and sentinel
    content, error : (rings,) atomic fraction in rings of one pixel, nearest first
    far, far_error : of the far field
    width : px from which on the content is that of the far field; None where it never is
    """

    phase: str
    element: str
    content: np.ndarray
    error: np.ndarray
    far: float
    far_error: float
    width: int | None


@dataclass(frozen=True, eq=False)
class CoreChoice:
    """Width of the margin around masks, and why.

    Attributes
    ----------
    width : px; the core is what is farther from all masks
    text : a sentence for people
    profiles : of every precipitate
    warnings : what a person should know
    """

    width: int
    text: str
    profiles: tuple[Profile, ...] = ()
    warnings: tuple[str, ...] = ()


def choose_core(
    maps: Sequence[RingCounts], phases: Sequence[str], elements: Sequence[str], given: int | None = None
) -> CoreChoice:
    """Choose the width of the margin around masks.

    Parameters
    ----------
    maps : sequence of RingCounts
        Sums of all maps.
    phases : sequence of str
        The matrix, then the precipitates.
    elements : sequence of str
        Of the first columns.
    given : int, optional
        Width that the user wants.

    Raises
    ------
    ParameterError
        If too few pixels are that far from all masks.
    """
    if given is not None:
        _check_size(maps, given)
        return CoreChoice(given, f"{_place(phases[0], given)}, as asked for")
    start = _far_field(maps)
    profiles = tuple(_profile(maps, row, name, elements, start) for row, name in enumerate(phases[1:]))
    wanted = max(start if one.width is None else one.width for one in profiles)
    _check_size(maps, 0)
    width = max(w for w in range(wanted + 1) if _pixels_beyond(maps, w) >= LEAST_PIXELS)
    seen = ", ".join(f"{one.element} of {one.phase}" for one in profiles)
    text = (
        f"{_place(phases[0], width)}: there, the content of {seen} is that of the far field (more than "
        f"{start} px away) within errors"
        if width == wanted
        else f"{_place(phases[0], width)}: a wider margin leaves less than {LEAST_PIXELS} pixels"
    )
    warnings = [
        f"the content of {one.element} around {one.phase} still falls {start} px from its masks, where the "
        f"far field begins: {phases[0]} may not be pure in its core; core=... gives a wider margin"
        for one in profiles
        if one.width is None
    ]
    if width < wanted:
        warnings = [
            f"the core of {phases[0]} begins {width} px from the masks, though {seen} still falls up to "
            f"{wanted} px from them: a wider margin leaves less than {LEAST_PIXELS} pixels. {phases[0]} may "
            "not be pure there"
        ]
    return CoreChoice(width, text, profiles, tuple(warnings))


def _place(matrix: str, width: int) -> str:
    return (
        f"the core of {matrix} is what is farther than {width} px from every mask, and from pixels with more "
        f"than {100 * SEEN:.0f} % of a precipitate"
    )


def _check_size(maps: Sequence[RingCounts], width: int) -> None:
    """Refuse a width that leaves no core."""
    if _pixels_beyond(maps, width) >= LEAST_PIXELS:
        return
    most = max((w for w in range(width) if _pixels_beyond(maps, w) >= LEAST_PIXELS), default=None)
    expected = f"a width that leaves {LEAST_PIXELS} pixels for the core of the matrix"
    fix = "Use other masks." if most is None else f"At most core={most}."
    raise ParameterError("core", width, expected, fix)


def _pixels_beyond(maps: Sequence[RingCounts], width: int) -> int:
    return int(sum(one.rings.pixels[one.rings.nearest > width].sum() for one in maps))


def _far_field(maps: Sequence[RingCounts]) -> int:
    """Distance at which the far field begins: it has a fair part of the pixels outside masks."""
    outside = _pixels_beyond(maps, 0)
    reach = maps[0].rings.reach
    wide = [w for w in range(1, reach + 1) if _pixels_beyond(maps, w) >= max(FAR_FRACTION * outside, 1)]
    return max(wide, default=0)


def _profile(
    maps: Sequence[RingCounts], row: int, phase: str, elements: Sequence[str], start: int
) -> Profile:
    """Follow the sentinel of one precipitate through the rings around it, up to the far field."""
    # the far field, the mixture, each ring, and from each ring on all of them up to the far field
    spectra = [MapSpectra(_regions(one, row, start), one.columns) for one in maps]
    found = [amounts.atoms(len(elements)).fractions() for amounts in region_amounts(spectra)]
    far, mixture, rings, rest = found[0], found[1], found[2 : 2 + start], found[2 + start :]
    excess = (mixture.weights - far.weights) / np.maximum(np.hypot(mixture.errors, far.errors), 1e-12)
    which = int(np.nanargmax(excess)) if np.isfinite(excess).any() else 0
    width = next(
        (
            w
            for w in range(start)
            if _alike(rings[w], far, which, MOST_SIGMA_RING) and _alike(rest[w], far, which, MOST_SIGMA_REST)
        ),
        None,
    )
    if start == 0:
        width = 0
    return Profile(
        phase,
        elements[which],
        np.array([one.weights[which] for one in rings]),
        np.array([one.errors[which] for one in rings]),
        float(far.weights[which]),
        float(far.errors[which]),
        width,
    )


def _regions(one: RingCounts, row: int, start: int) -> np.ndarray:
    """Sum the far field, the mask, each ring, and from each ring on all of them up to the far field."""
    ring, nearest = one.rings.ring[:, row], one.rings.nearest
    near = (ring == nearest) & (nearest > 0)
    masks = [nearest > start, one.rings.masked[:, row]]
    masks += [near & (ring == w) for w in range(1, start + 1)]
    masks += [near & (ring >= w) & (ring <= start) for w in range(1, start + 1)]
    return np.array([one.counts[mask].sum(axis=0) for mask in masks])


def _alike(ring: Amounts, far: Amounts, which: int, sigma: float) -> bool:
    """Whether a ring has no more of an element than the far field, within errors; an empty one is."""
    excess = ring.weights[which] - far.weights[which]
    error = np.hypot(ring.errors[which], far.errors[which])
    return not excess > sigma * error
