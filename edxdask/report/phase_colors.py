"""One colour per phase, in every figure and on every page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb

# After Okabe and Ito (colour-blind safe); neighbours differ in lightness too.
PHASE_PALETTE = (
    "#0072b2",
    "#d55e00",
    "#1b9e77",
    "#a8467d",
    "#b07d00",
    "#3fa0d8",
    "#5b4b9a",
    "#b02a37",
    "#3f6f1f",
    "#5f6b75",
)
PAPER = "#f4f6f8"  # where there is nothing of a phase: nearly white, so that the edge of the map is seen


def phase_colors(labels: Sequence[str]) -> dict[str, str]:
    """Give each phase its colour, in the order of the result.

    Examples
    --------
    >>> phase_colors(["Brg", "Fp"])
    {'Brg': '#0072b2', 'Fp': '#d55e00'}
    """
    return {label: PHASE_PALETTE[i % len(PHASE_PALETTE)] for i, label in enumerate(labels)}


def fading(color: str) -> Colormap:
    """Colours from paper (nothing) to the colour of a phase (all)."""
    return LinearSegmentedColormap.from_list(color, [PAPER, color])


def mixed(abundance: np.ndarray, colors: Sequence[str]) -> np.ndarray:
    """Mix the colours of phases by their fractions: ``(y, x, 3)`` of ``(phase, y, x)``.

    A pure pixel has the colour of its phase; a pixel without photons is paper.

    Examples
    --------
    >>> mixed(np.array([[[1.0, 0.5]], [[0.0, 0.5]]]), ["#ff0000", "#0000ff"])[0].tolist()
    [[1.0, 0.0, 0.0], [0.5, 0.0, 0.5]]
    """
    parts = np.clip(np.nan_to_num(np.asarray(abundance, dtype=float)), 0.0, None)
    whole = parts.sum(axis=0)
    parts = parts / np.where(whole > 1.0, whole, 1.0)
    rest = 1.0 - parts.sum(axis=0)
    rgb = np.tensordot(parts, np.array([to_rgb(c) for c in colors]), axes=(0, 0))
    return np.clip(rgb + rest[..., None] * np.array(to_rgb(PAPER)), 0.0, 1.0)
