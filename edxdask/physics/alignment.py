"""Energy axis and width of a spectrum, refined on the peaks of a fit."""

from __future__ import annotations

import numpy as np

from edxdask.physics.basis import Seen
from edxdask.physics.library import USUAL, Axis, library
from edxdask.physics.selection import Model, misfit_variance


def aligned(model: Model, nominal: np.ndarray, *, beam_energy: float, seen: Seen) -> Axis:
    """Refine energy axis and width by one Gauss-Newton step, all weights free beside them."""
    if not model.terms:
        return model.axis

    def peaks(axis: Axis) -> np.ndarray:
        return _peaks_at(model, axis, nominal, beam_energy=beam_energy, seen=seen)

    now, small = peaks(model.axis), 0.1 * USUAL
    slopes = [(peaks(model.axis.corrected(step)) - now) / 0.1 for step in np.diag(small)]
    variance = np.maximum(model.expected, 1.0) + misfit_variance(model)
    # weights scaled to counts, so that one solution suits them and the corrections
    rows = np.vstack([model.matrix * np.sqrt(model.counts.sum()), slopes])
    curvature = (rows / variance) @ rows.T
    last = slice(len(rows) - USUAL.size, None)
    curvature[last, last] += np.eye(USUAL.size)
    right = (rows / variance) @ (model.counts - model.expected)
    right[last] -= (model.axis.corrections - Axis(fwhm_mn_ka_ev=model.axis.fwhm_mn_ka_ev).corrections) / USUAL
    step = np.linalg.lstsq(curvature, right, rcond=1e-12)[0][last]
    return model.axis.corrected(np.clip(step, -1.0, 1.0) * USUAL)


def _peaks_at(model: Model, axis: Axis, nominal: np.ndarray, *, beam_energy: float, seen: Seen) -> np.ndarray:
    """Fitted peaks, (E,), as they would be with another axis."""
    names = tuple(dict.fromkeys(t.element for t in model.terms))
    made = library(
        axis.energy(nominal), names, beam_energy=beam_energy, fwhm_mn_ka_ev=axis.fwhm_mn_ka_ev, seen=seen
    )
    place = {key: i for i, key in enumerate(zip(made.elements, made.families, strict=True))}
    out = np.zeros(nominal.size)
    for index, term in enumerate(model.terms):
        chosen = list(term.columns)
        share = model.lines.per_atom[chosen] / model.lines.per_atom[chosen].sum() * model.weight(index)
        for amount, c in zip(share, chosen, strict=True):
            column = place.get((model.lines.elements[c], model.lines.families[c]))
            if column is not None:  # a line at the very end of the axis may leave it
                out += amount * made.matrix[column]
    return out
