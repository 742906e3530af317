"""A basis that fits a sum spectrum: energy axis, width, strength of line families, and a smooth rest.

Four things are found from the summed counts, most certain first: where the peaks are and how wide they are
(`edxdask.physics.energy_axis`); how strong an element's L and M lines are relative to its K lines, which
tables know to 10 to 30 %; and a smooth factor, common to all columns, for the remaining errors of efficiency,
windows, absorption and shapes of continuum and peaks. The factor is as stiff as the data allow, and 1 if the
basis is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from edxdask.physics import energy_axis
from edxdask.physics.basis import Basis, Column, basis, basis_lines, basis_of
from edxdask.physics.conditions import Conditions
from edxdask.physics.energy_axis import BEND, ESCAPE, LINEAR, EnergyAxis, check_axis, shape_doubt
from edxdask.physics.floor import Floor, spectrum_floor
from edxdask.physics.library import continuum_columns
from edxdask.physics.poisson import LEAST_MODEL, LinearFit, fit_weights
from edxdask.physics.smooth_factor import smooth_factor, spline_rows

CORRECTION_ROUNDS = 3
FAMILY_PRIOR = 0.3  # relative; strength of L and M against K, in the tables
# Distance of the factor's knots: first too far apart to follow a peak, so that lines which nobody listed stay
# in the residual; then near enough for shapes of peaks and absorption edges under them.
WIDE_FWHM, NARROW_FWHM = 3.0, 0.5
LEAST_MISS, MOST_SIGMA = 0.1, 2.5  # of a family that is still tied to its element
LEAST_REFERENCE = 0.1  # relative error up to which a harder family is the reference of its element


@dataclass(frozen=True, eq=False)
class CalibratedBasis:
    """What was found; ``families`` makes the matrix that belongs to it.

    Attributes
    ----------
    counts : (E,) that it was made from
    energy : (E,) keV, the axis as it is: offset and gain applied
    axis : offset, gain and width found, with their errors
    floor : first channel of use; below it, all columns are 0
    below : (E,) fraction of all photons in each channel below the floor, 0 above
    conditions : with the width found
    elements : columns that count as composition, then those that do not (``extra``)
    extra : elements found in the residual, not listed
    columns : (M,) families
    reference : family by element on which its atoms are counted
    strength : (M,) factor of each family's column, 1 for the references
    loose : (M,) bool, families with a strength that the tables do not predict
    correction : (E,) smooth factor common to all columns, 1 on average over the lines. It shapes spectra; how
        many atoms a line means is left to the tables
    fit : of the sum spectrum, from the floor on
    mean_composition : atomic fractions of the elements listed
    chi2_red : of the summed fit: without a factor, with one too wide to follow a peak, with the whole
    """

    counts: np.ndarray
    energy: np.ndarray
    axis: EnergyAxis
    floor: Floor
    below: np.ndarray
    conditions: Conditions
    elements: tuple[str, ...]
    extra: tuple[str, ...]
    columns: tuple[Column, ...]
    reference: dict[str, str]
    strength: np.ndarray
    loose: np.ndarray
    correction: np.ndarray
    fit: LinearFit
    mean_composition: dict[str, float]
    chi2_red: tuple[float, float, float]

    def families(self, composition: dict[str, float] | None = None, mass: float = 1.0) -> Basis:
        """Columns of families as in the tables, on the axis that was found.

        A family that lies outside this axis, where the calibration was made for several maps, is all zeros.
        ``mass`` is the mass thickness of what absorbs, over that of the film.
        """
        conditions = self.conditions.heavier(mass)
        made = _families(self.energy[self.floor.first :], self.elements, conditions, composition)
        rows = {column.name: row for column, row in zip(made.columns, made.matrix, strict=True)}
        matrix = np.zeros((len(self.columns), self.energy.size))
        for column, row in zip(self.columns, matrix, strict=True):
            row[self.floor.first :] = rows.get(column.name, 0.0)
        return Basis(self.energy, matrix, self.columns)

    @threadpool_limits.wrap(limits=1)
    def for_phases(
        self, compositions: Sequence[dict[str, float]], photons: np.ndarray, mass: np.ndarray
    ) -> CalibratedBasis:
        """Calibrate once more, with what each phase absorbs.

        Iron of a steel is absorbed by iron, not by the mean of steel and carbides: with the mean, families
        would take strengths that are right for no phase.

        Parameters
        ----------
        compositions : of the phases, in atoms
        photons, mass : (k,) of the phases
        """
        if not self.conditions.absorbs:
            return self
        made = [
            self.families({e: a for e, a in known.items() if a > 0}, float(one))
            for known, one in zip(compositions, mass, strict=True)
        ]
        first = made[0]
        # photons of each phase in each column, then atoms
        held = np.array([
            [known.get(str(c.element), 0.0) if c.kind == "lines" else 1.0 for c in first.columns]
            for known in compositions
        ])  # fmt: skip
        lines = np.array([c.kind == "lines" for c in first.columns])
        emitted = np.array([
            row[lines] @ one.matrix[lines].sum(axis=1) for row, one in zip(held, made, strict=True)
        ])  # fmt: skip
        amount = held * photons[:, None]
        amount[:, lines] /= np.maximum(emitted, LEAST_MODEL)[:, None]
        nowhere = amount.sum(axis=0) <= 0
        amount[:, nowhere] = photons[:, None]
        share = amount / amount.sum(axis=0)
        whole = np.einsum("km,kme->me", share, np.stack([one.matrix for one in made]))
        start = self.floor.first
        mean = replace(first, energy=self.energy[start:], matrix=whole[:, start:])
        correction, fit, chi2 = _correct(self.counts[start:], mean)
        reference, strength, loose = _strengths(mean, fit)
        listed = [e for e in self.elements if e not in self.extra]
        return replace(
            self,
            reference=reference,
            strength=strength,
            loose=loose,
            correction=np.concatenate([np.ones(start), correction]),
            fit=fit,
            mean_composition=_atoms(mean, fit, reference, listed),
            chi2_red=chi2,
        )


def _families(
    energy: np.ndarray, elements: Sequence[str], conditions: Conditions, composition: dict[str, float] | None
) -> Basis:
    return basis(
        energy,
        elements,
        beam_energy=conditions.beam_energy,
        fwhm_mn_ka_ev=conditions.fwhm_mn_ka_ev,
        families=True,
        seen=conditions.seen(composition),
    )


@threadpool_limits.wrap(limits=1)
def calibrate(
    counts: np.ndarray,
    energy: np.ndarray,
    elements: Sequence[str],
    conditions: Conditions,
    *,
    extra: Sequence[str] = (),
    refine_axis: bool = True,
) -> CalibratedBasis:
    """Fit a sum spectrum with everything a basis leaves open.

    Parameters
    ----------
    counts, energy : (E,) sum spectrum and channel centres in keV
    elements : listed by the user
    extra : elements with lines in the spectrum that are not part of the sample
    refine_axis : find offset, gain and width

    Raises
    ------
    EdxdaskError
        If the axis or width that fits best is impossible.
    """
    counts = np.asarray(counts, dtype=np.float64)
    floor = spectrum_floor(energy, counts)
    used, nominal = counts[floor.first :], energy[floor.first :]
    names = (*elements, *(e for e in extra if e not in elements))
    axis = EnergyAxis(fwhm_mn_ka_ev=conditions.fwhm_mn_ka_ev)
    composition: dict[str, float] | None = None
    for _ in range(2 if conditions.absorbs else 1):
        if refine_axis:
            axis = _refined(used, nominal, names, conditions, composition, axis)
        measured = conditions.with_width(axis.fwhm_mn_ka_ev)
        made = _families(axis.energy(nominal), names, measured, composition)
        fit = fit_weights(used, made.matrix)
        composition = _atoms(made, fit, _strengths(made, fit)[0], elements)
    made = _families(axis.energy(nominal), names, measured, composition)
    correction, fit, chi2 = _correct(used, made)
    reference, strength, loose = _strengths(made, fit)
    below = np.where(np.arange(energy.size) < floor.first, counts, 0.0) / max(counts.sum(), 1.0)
    return CalibratedBasis(
        counts=counts,
        energy=axis.energy(energy),
        axis=replace(axis, escape=0.0),  # the factor does it: spectra of phases are made without escape peaks
        floor=floor,
        below=below,
        conditions=measured,
        elements=tuple(names),
        extra=tuple(e for e in names if e not in elements),
        columns=made.columns,
        reference=reference,
        strength=strength,
        loose=loose,
        correction=np.concatenate([np.ones(floor.first), correction]),
        fit=fit,
        mean_composition=_atoms(made, fit, reference, elements),
        chi2_red=chi2,
    )


def _refined(
    counts: np.ndarray,
    nominal: np.ndarray,
    elements: Sequence[str],
    conditions: Conditions,
    composition: dict[str, float] | None,
    start: EnergyAxis,
) -> EnergyAxis:
    """Offset, gain and width that fit the families of all elements best.

    As in ``find_elements`` and ``quantify``, the continuum may bend and the strength of escape peaks is free:
    with Lifshin's shapes alone, the axis would compensate for what windows and absorption do to them.
    """
    beam, seen = conditions.beam_energy, conditions.seen(composition)
    energy = start.energy(nominal)
    lines = basis_lines(energy, elements, beam_energy=beam, fwhm_mn_ka_ev=start.fwhm_mn_ka_ev, seen=seen)
    smooth = continuum_columns(energy, beam_energy=beam, seen=seen)

    def shapes(axis: EnergyAxis) -> np.ndarray:
        made = basis_of(
            lines,
            axis.energy(nominal),
            beam_energy=beam,
            fwhm_mn_ka_ev=axis.fwhm_mn_ka_ev,
            families=True,
            continuum=0,
            escape=axis.escape,
        )
        return np.vstack([made.matrix, smooth])

    known = EnergyAxis(fwhm_mn_ka_ev=conditions.fwhm_mn_ka_ev)
    found = energy_axis.fit_axis(
        counts, shapes, start, free=(*LINEAR, ESCAPE, *BEND), known=known, doubt=shape_doubt(nominal)
    )
    check_axis(found, "With refine_axis=False the axis is taken as given.")
    return found


def _strengths(made: Basis, fit: LinearFit) -> tuple[dict[str, str], np.ndarray, np.ndarray]:
    """Find each element's reference family, the strength of its others, and which of these are loose.

    The strength from the data and that of the tables (1) are weighted by their errors. If they differ by
    more than both errors allow, only the data are used.
    """
    # a weight at its bound of 0 has no error here: use that of all others known
    alone = 1 / np.sqrt(np.maximum((made.matrix**2 / np.maximum(fit.expected, 0.5)).sum(axis=1), 1e-300))
    error = np.where(fit.weights > 0, np.sqrt(np.maximum(np.diag(fit.covariance), 0)), alone)
    strength = np.ones(len(made.columns))
    loose = np.zeros(len(made.columns), bool)
    reference = {}
    for element in made.elements:
        members = made.members(element)
        weight, sigma = fit.weights[members], error[members]
        # hardest first: one so precise decides on the element, also if it says that there is none
        sure = [i for i in range(members.size) if sigma[i] < LEAST_REFERENCE * weight.max()]
        first = sure[0] if sure else int(np.argmax(fit.weights[members] * made.matrix[members].sum(axis=1)))
        reference[element] = str(made.columns[members[first]].family)
        for i, member in enumerate(members):
            if i != first and not weight[first] > sigma[first]:
                loose[member] = weight[i] > 0
            elif i != first:
                ratio = weight[i] / weight[first]
                spread = np.hypot(sigma[i], ratio * sigma[first]) / weight[first]
                precise, known = 1 / max(spread, 1e-6) ** 2, 1 / FAMILY_PRIOR**2
                strength[member] = (ratio * precise + known) / (precise + known)
                loose[member] = abs(ratio - 1) > max(LEAST_MISS, MOST_SIGMA * spread)
    return reference, strength, loose


def _atoms(
    made: Basis, fit: LinearFit, reference: dict[str, str], elements: Sequence[str]
) -> dict[str, float]:
    """Mean composition, from the reference families."""
    atoms = {
        str(c.element): float(w)
        for c, w in zip(made.columns, fit.weights, strict=True)
        if c.element in elements and reference.get(c.element or "") == c.family
    }
    whole = sum(atoms.values())
    return {e: a / whole for e, a in atoms.items()} if whole > 0 else {e: 1 / len(elements) for e in elements}


def _correct(counts: np.ndarray, made: Basis) -> tuple[np.ndarray, LinearFit, tuple[float, float, float]]:
    """Find the factor on all columns, in rounds with the weights: a wide one, then a narrow one on it."""
    fit = fit_weights(counts, made.matrix)
    chi2 = [_chi2(counts, fit.expected, len(made.columns))]
    lines = np.array([c.kind == "lines" for c in made.columns])
    factor = np.ones_like(counts)
    for apart in (WIDE_FWHM, NARROW_FWHM):
        splines = spline_rows(made.energy, apart)
        bent, freedom = factor, 0.0
        for _ in range(CORRECTION_ROUNDS):
            more, freedom = smooth_factor(counts, fit.expected / bent * factor, splines)
            bent = factor * more
            fit = fit_weights(counts, made.matrix * bent, start=fit.weights)
        drawn = fit.weights[lines] @ made.matrix[lines]
        mean = float((drawn * bent).sum() / max(drawn.sum(), LEAST_MODEL))
        factor = bent / mean
        fit = replace(fit, weights=fit.weights * mean, covariance=fit.covariance * mean**2)
        chi2.append(_chi2(counts, fit.expected, len(made.columns) + freedom))
    return factor, fit, (chi2[0], chi2[1], chi2[2])


def _chi2(counts: np.ndarray, expected: np.ndarray, parameters: float) -> float:
    return float(
        np.sum((counts - expected) ** 2 / np.maximum(expected, 0.5)) / max(counts.size - parameters, 1.0)
    )
