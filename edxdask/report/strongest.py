"""The strongest lines of each phase: what a spectrum without a composition is made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.ops.maps import line_windows
from edxdask.physics.floor import spectrum_floor
from edxdask.report.labels import pretty_line
from edxdask.report.lines import label_lines

MOST_LINES = 4
LEAST = 0.005  # of the photons of a phase above the zero peak
APART_KEV = 0.08  # lines nearer than this are one peak, and have the name of the first


def strongest_lines(result: xr.Dataset) -> dict[str, list[str]]:
    """Lines of the listed elements that stand out of the spectrum of each phase, strongest first.

    A line counts with what is above a straight background beside it. Without a list of elements, or on an
    axis without their lines, there are none.

    Parameters
    ----------
    result : Dataset
        With ``spectrum(phase, energy)``.

    Examples
    --------
    >>> import edxdask
    >>> result = edxdask.nmf(edxdask.simulate(shape=(16, 16), counts=200), phases=1, max_iter=20)
    >>> strongest_lines(result)["phase_0"][0]
    'O Kα'
    """
    spectra = result[schema.SPECTRUM].transpose(schema.PHASE, schema.ENERGY)
    energy = spectra[schema.ENERGY].values
    least = LEAST * spectra.values[:, spectrum_floor(energy, spectra.values.sum(axis=0)).first :].sum(axis=1)
    elements: Sequence[str] = result.attrs.get(schema.ELEMENTS, ())
    kept: list[tuple[str, float, np.ndarray]] = []
    for name, centre in label_lines(elements, float(energy[0]), float(energy[-1])).items():
        if name.endswith("Kb") or any(abs(centre - other) < APART_KEV for _, other, _ in kept):
            continue
        net = _net(result, spectra.values, energy, name)
        if net is not None:
            kept.append((name, centre, net))
    found = {}
    for i, label in enumerate(map(str, spectra[schema.PHASE].values)):
        ranked = sorted(((net[i], name) for name, _, net in kept if net[i] >= least[i]), reverse=True)
        found[label] = [pretty_line(name) for _, name in ranked[:MOST_LINES]]
    return found


def _net(result: xr.Dataset, spectra: np.ndarray, energy: np.ndarray, line: str) -> np.ndarray | None:
    """Fraction of each spectrum in a line above its background; None where a window leaves the axis."""
    try:
        windows = line_windows(result, line)
    except ParameterError:
        return None
    inside = [(energy >= low) & (energy < high) for low, high in windows]
    if not all(mask.any() for mask in inside):
        return None
    sums = [spectra[:, mask].mean(axis=1) for mask in inside]
    return (sums[0] - (sums[1] + sums[2]) / 2) * inside[0].sum()
