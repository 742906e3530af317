"""Small pictures inside a page: maps as PNG, spectra as SVG that takes the colour of the text around it."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edxdask.physics.floor import spectrum_floor
from edxdask.report.labels import pretty_line
from edxdask.report.style import COUNTS_COLORS

SIDE = 220  # pixels along the longer side of a map, at most
LOWEST, HIGHEST = 0.5, 99.8  # percentiles that have the darkest and the brightest colour
WIDTH, HEIGHT, FOOT, HEAD = 640, 150, 18, 29
MOST_POINTS, NAME_WIDTH = 640, 40
FAINT_LINE = "rgba(128,128,128,0.6)"


@dataclass(frozen=True, eq=False)
class DrawnSpectrum:
    """A spectrum to draw.

    Attributes
    ----------
    energy, values : (channels,)
    color : of the line; "currentColor" is that of the text
    """

    name: str
    energy: np.ndarray
    values: np.ndarray
    color: str = "currentColor"


def small_map(values: np.ndarray, name: str, *, from_zero: bool = False) -> str:
    """Image element of a map, means of pixels where it is large; grey where nothing is known.

    Black is zero, or what few pixels are below.

    Examples
    --------
    >>> small_map(np.eye(3), "a < b")[:34]
    '<img alt="a &lt; b" title="a &lt; '
    """
    from matplotlib import colormaps
    from PIL import Image

    step = max(1, math.ceil(max(values.shape) / SIDE))
    data = reduced(np.asarray(values, dtype=float), step)
    finite = data[np.isfinite(data)]
    low = float(np.percentile(finite, LOWEST)) if finite.size and not from_zero else 0.0
    high = float(np.percentile(finite, HIGHEST)) if finite.size else 1.0
    if high <= low:
        high = float(finite.max()) if finite.size and float(finite.max()) > low else low + 1.0
    colors = colormaps[COUNTS_COLORS].with_extremes(bad="#8a94a0")
    pixels = colors(np.ma.masked_invalid((data - low) / (high - low)), bytes=True)
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[..., :3])).save(file, format="PNG")
    picture = base64.b64encode(file.getvalue()).decode()
    scale = max(1, SIDE // max(data.shape))
    said = html.escape(name)
    return (
        f'<img alt="{said}" title="{said}" width="{scale * data.shape[1]}" height="{scale * data.shape[0]}" '
        f'style="image-rendering:pixelated;display:block" src="data:image/png;base64,{picture}">'
    )


def reduced(values: np.ndarray, step: int) -> np.ndarray:
    """Means of ``step`` × ``step`` pixels; what is left over at the ends is left out.

    Examples
    --------
    >>> reduced(np.arange(12.0).reshape(3, 4), 2).tolist()
    [[2.5, 4.5]]
    """
    rows, columns = (max(n // step, 1) for n in values.shape)
    if step == 1 or min(values.shape) < step:
        return values[:: step if values.shape[0] >= step else 1, :: step if values.shape[1] >= step else 1]
    part = values[: rows * step, : columns * step].reshape(rows, step, columns, step)
    known = np.isfinite(part)
    sums, count = np.where(known, part, 0.0).sum(axis=(1, 3)), known.sum(axis=(1, 3))
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)


def spectra_svg(curves: Sequence[DrawnSpectrum], *, lines: Mapping[str, float] | None = None) -> str:
    """SVG of spectra over one energy axis, each to its own tallest peak, on a square-root scale.

    Parameters
    ----------
    curves : sequence of DrawnSpectrum
        What to draw.
    lines : mapping, optional
        Energies (keV) by name of lines; those at the tallest counts of the first curve are named.

    Examples
    --------
    >>> svg = spectra_svg([DrawnSpectrum("sum", np.arange(3.0), np.array([0.0, 4.0, 1.0]))])
    >>> svg.startswith("<svg"), "NaN" in svg
    (True, False)
    """
    curves = _without_zero_peak(curves)
    low, high = float(curves[0].energy[0]), _last_seen(curves, float(curves[0].energy[-1]))
    across = WIDTH / (high - low) if high > low else 1.0
    parts = [_axis(low, high, across)]
    for curve in curves:
        inside = curve.energy <= high
        x, y = _points((curve.energy[inside] - low) * across, np.maximum(curve.values[inside], 0.0))
        top = y.max() if y.size and y.max() > 0 else 1.0
        heights = HEAD + HEIGHT * (1 - np.sqrt(y / top))
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, heights, strict=True))
        said = html.escape(curve.name)
        parts.append(
            f'<polyline fill="none" stroke="{curve.color}" stroke-width="1.2" points="{points}">'
            f"<title>{said}</title></polyline>"
        )
    parts += _names(curves[0], lines or {}, low, high, across)
    said = html.escape(", ".join(curve.name for curve in curves))
    whole = HEAD + HEIGHT + FOOT
    return (
        f'<svg role="img" aria-label="spectra: {said}" viewBox="0 0 {WIDTH} {whole}" width="{WIDTH}" '
        f'height="{whole}" style="max-width:100%;height:auto;display:block" font-size="11" '
        f'font-family="sans-serif" fill="currentColor">{"".join(parts)}</svg>'
    )


def _without_zero_peak(curves: Sequence[DrawnSpectrum]) -> list[DrawnSpectrum]:
    """Leave out what is below the lowest line, where the electronics' peak at 0 keV may be the tallest."""
    energy = curves[0].energy
    if energy.size < 3:
        return list(curves)
    first = spectrum_floor(energy, np.sum([np.nan_to_num(one.values) for one in curves], axis=0)).first
    return [replace(one, energy=one.energy[first:], values=one.values[first:]) for one in curves]


def _last_seen(curves: Sequence[DrawnSpectrum], high: float) -> float:
    """Energy below which all but a thousandth of each spectrum is."""
    ends = []
    for curve in curves:
        values = np.maximum(np.nan_to_num(curve.values), 0.0)
        above = np.cumsum(values[::-1])[::-1]
        seen = np.flatnonzero(above > 1e-3 * above[0]) if values.size else np.zeros(0, int)
        ends.append(float(curve.energy[seen[-1]]) if seen.size else high)
    return max(ends) or high


def _points(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thin a line out; each stretch keeps its largest value."""
    y = np.nan_to_num(y)
    if x.size <= MOST_POINTS:
        return x, y
    starts = np.linspace(0, x.size, MOST_POINTS + 1).astype(int)[:-1]
    return x[starts], np.maximum.reduceat(y, starts)


def _axis(low: float, high: float, across: float) -> str:
    bottom = HEAD + HEIGHT
    step = next((n for n in (0.5, 1, 2, 5, 10, 20, 50) if n * across >= 40), 100)
    ticks = np.arange(math.ceil(low / step) * step, high, step)
    marks = "".join(
        f'<text x="{(t - low) * across:.1f}" y="{bottom + 13}" text-anchor="middle">{t:g}</text>'
        for t in ticks
        if 8 < (t - low) * across < WIDTH - 40
    )
    line = f'<line x1="0" y1="{bottom}" x2="{WIDTH}" y2="{bottom}" stroke="{FAINT_LINE}"/>'
    return f'{line}{marks}<text x="{WIDTH}" y="{bottom + 13}" text-anchor="end">keV</text>'


def _names(
    curve: DrawnSpectrum, lines: Mapping[str, float], low: float, high: float, across: float
) -> list[str]:
    """Names of lines above their peaks, those at the tallest counts first, as many as have room."""
    step = float(curve.energy[1] - curve.energy[0]) if curve.energy.size > 1 else 1.0
    found = []
    for name, energy in lines.items():
        at = round((energy - float(curve.energy[0])) / step)
        if low < energy < high and 0 <= at < curve.values.size:
            found.append((float(curve.values[max(at - 2, 0) : at + 3].max()), energy, name))
    rows: tuple[dict[str, float], ...] = ({}, {})
    for _, energy, name in sorted(found, reverse=True):
        place = (energy - low) * across
        free = [row for row in rows if all(abs(place - other) >= NAME_WIDTH for other in row.values())]
        if free:
            free[0][name] = place
    return [
        f'<text x="{min(max(at, NAME_WIDTH / 2), WIDTH - NAME_WIDTH / 2):.1f}" y="{24 - 13 * i}" '
        f'text-anchor="middle">{html.escape(pretty_line(name))}</text>'
        for i, row in enumerate(rows)
        for name, at in row.items()
    ]
