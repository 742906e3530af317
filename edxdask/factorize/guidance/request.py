"""The user's physics parameters, checked, and the basis calibrated for them on the summed photons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edxdask.engine.partition import summed_spectrum
from edxdask.engine.problem import Problem
from edxdask.errors import ParameterError
from edxdask.factorize.guidance.guide import (
    Absent,
    Compositions,
    Guide,
    checked_absent,
    checked_compositions,
)
from edxdask.physics.calibration import calibrate
from edxdask.physics.candidates import Candidate
from edxdask.physics.conditions import Conditions, shared_conditions
from edxdask.physics.emission import check_thin_film
from edxdask.physics.energy_axis import EnergyAxis, axis_warning
from edxdask.physics.find import Found, find_in_spectrum
from edxdask.physics.lines import atomic_number, checked_elements

FIND = "find"


@dataclass(frozen=True)
class PhysicsRequest:
    """The user's physics parameters.

    Attributes
    ----------
    elements : symbols that phases are made of; empty: to be found in the summed spectrum
    absent : elements that a phase, by label or number (biggest first), cannot hold
    compositions : phases of known composition, in atoms
    refine_axis : find offset and gain of the energy axis and the width of peaks
    """

    elements: tuple[str, ...]
    absent: dict[str | int, tuple[str, ...]]
    compositions: dict[str | int, dict[str, float]]
    refine_axis: bool = True

    @classmethod
    def of(
        cls,
        elements: Sequence[str] | str,
        absent: Absent | None,
        compositions: Compositions | None,
        phases: int | None,
        refine_axis: bool,
    ) -> PhysicsRequest:
        """Check the request."""
        if isinstance(elements, str) and elements == FIND:
            for name, value in (("absent", absent), ("compositions", compositions)):
                if value:
                    raise ParameterError(name, value, f"None where elements={FIND!r}", "List the elements.")
            return cls((), {}, {}, refine_axis)
        names = checked_elements(elements)
        if not names:
            raise ParameterError("elements", elements, "one symbol or more, or None for spectra of any shape")
        gone = checked_absent(absent, names, phases)
        return cls(names, gone, checked_compositions(compositions, names, gone, phases), refine_axis)

    def identity(self, problem: Problem) -> str:
        """Everything that determines the physics of a run, for its checkpoint."""
        return repr((self, _conditions(problem)[0]))

    @property
    def finds(self) -> bool:
        """Whether the elements are to be found."""
        return not self.elements

    def guide(self, problem: Problem, regions: Sequence[np.ndarray] = ()) -> Guide:
        """Calibrate the basis on the summed photons, including lines that nobody listed.

        Where elements are to be found, those of ``regions``, which are sum spectra, belong to them.
        """
        counts = np.sum(list(problem.executor.collect(summed_spectrum)), axis=0)
        energy = problem.energy.values.astype(np.float64)
        conditions, differ = _conditions(problem)
        guide = self.guide_of(counts, energy, conditions, regions)
        if differ:
            guide = replace(guide, warnings=(*guide.warnings, differ))
        guide.say()
        return guide

    def guide_of(
        self,
        counts: np.ndarray,
        energy: np.ndarray,
        conditions: Conditions,
        regions: Sequence[np.ndarray] = (),
    ) -> Guide:
        """Calibrate the basis on a sum spectrum, (E,), on channels at ``energy``.

        What is there is found first, on a separate axis: refined on listed elements alone, the axis may
        slide until the grid's copper fits the hafnium of the list.
        """
        if self.compositions:
            check_thin_film(conditions.beam_energy, "Leave out compositions; absent works here.")
        found = find_in_spectrum(
            counts,
            energy,
            beam_energy=conditions.beam_energy,
            axis=EnergyAxis(fwhm_mn_ka_ev=conditions.fwhm_mn_ka_ev),
            known=self.elements,
            refine_axis=self.refine_axis,
        )
        elements = self.elements or _found_in_regions(found, regions, energy, conditions)
        unlisted = [c for c in found.candidates if c.significant and c.kind in ("element", "unknown")]
        unlisted = [c for c in unlisted if c.element not in elements]
        extra = [c.element for c in unlisted if c.element is not None]
        calibrated = calibrate(
            counts, energy, elements, conditions, extra=extra, refine_axis=self.refine_axis
        )
        moved = axis_warning(calibrated.axis, "calibration")
        warnings = (*map(_described, unlisted), *([] if moved is None else [moved]))
        return Guide(calibrated, elements, self.absent, self.compositions, warnings)


def _conditions(problem: Problem) -> tuple[Conditions, str]:
    """Give the conditions of all maps, and a warning where one basis cannot be exact for all."""
    return shared_conditions({view.name: view.cube.attrs for view in problem.maps})


def _found_in_regions(
    found: Found, regions: Sequence[np.ndarray], energy: np.ndarray, conditions: Conditions
) -> tuple[str, ...]:
    """Elements found in the sum of all pixels, and those that show in one of its regions only."""
    elements = set(found.elements)
    for counts in regions:
        there = find_in_spectrum(
            counts,
            energy,
            beam_energy=conditions.beam_energy,
            axis=found.axis,
            known=found.elements,  # or bromine would be taken for the aluminium that is known to be there
            refine_axis=False,
        )
        elements |= set(there.elements)
    return tuple(sorted(elements, key=atomic_number))


def _described(candidate: Candidate) -> str:
    """Say what is in the spectrum and was not listed."""
    seen = f"{candidate.counts:.0f} counts, {candidate.significance:.0f} sigma"
    if candidate.element is None:
        return f"{candidate.name}: not explained by the elements listed ({seen})"
    others = f" (or {', '.join(candidate.alternatives)})" if candidate.alternatives else ""
    return (
        f"{candidate.element}{others}: not listed, but {candidate.line} at {candidate.energy_kev:.2f} keV is "
        f"there ({seen}). It has a separate column and no part in compositions; if it is the sample's, add "
        "it to elements"
    )


def physics_request(
    elements: Sequence[str] | str | None,
    absent: Absent | None,
    compositions: Compositions | None,
    phases: int | None,
    refine_axis: bool,
) -> PhysicsRequest | None:
    """Check the physics parameters; None where there are none."""
    if elements is not None:
        return PhysicsRequest.of(elements, absent, compositions, phases, refine_axis)
    for name, value in (("absent", absent), ("compositions", compositions)):
        if value:
            raise ParameterError(
                name, value, "None where no elements are named", "Name them: elements=[...]."
            )
    return None
