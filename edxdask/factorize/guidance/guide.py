"""The guide: what the user says about the phases and the calibrated basis, made into spectra models S = W·G.

Rows of W are atoms of each element and two shapes of continuum, all at least zero; G is calibrated on the
summed counts (``physics.calibration``).

Where the film's thickness and density are known, each phase has separate columns: a phase absorbs by its own
composition, which the fit finds. A few rounds of fitting and of making columns are enough.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from math import perm

import numpy as np
from scipy.optimize import linear_sum_assignment

from edxdask.errors import ParameterError
from edxdask.factorize.spectra.elemental import ElementalSpectra
from edxdask.physics.basis import Basis
from edxdask.physics.calibration import CalibratedBasis
from edxdask.physics.lines import atomic_number

logger = logging.getLogger(__name__)

MOST_PLACEMENTS = 24  # of the labels, that are all tried
TAKEN = 1e9  # cost of a phase that has its label already
Absent = Mapping[str | int, str | Sequence[str]]
Compositions = Mapping[str | int, Mapping[str, float]]


@dataclass(frozen=True)
class Owner:
    """Element and lines that a column holds.

    Attributes
    ----------
    element : symbol; None of the continuum
    members : columns of families that add up to it
    atoms : whether its photons count as atoms of a composition
    """

    element: str | None
    members: tuple[int, ...]
    atoms: bool


@dataclass(frozen=True, eq=False)
class Guide:
    """What the user says about the phases, and the calibrated basis: makes models.

    Attributes
    ----------
    calibration : of the basis, on the summed counts
    elements : listed ones, which make up compositions
    absent : elements that a phase cannot hold, by label or number
    compositions : phases of known composition, in atoms, by label or number
    warnings : what is in the spectrum and was not listed
    """

    calibration: CalibratedBasis
    elements: tuple[str, ...]
    absent: Mapping[str | int, tuple[str, ...]]
    compositions: Compositions
    warnings: tuple[str, ...] = ()

    def say(self) -> None:
        """Log the warnings."""
        for text in self.warnings:
            logger.warning("%s", text)

    @property
    def labels(self) -> tuple[str | int, ...]:
        """Phases that the user said something about."""
        return tuple(dict.fromkeys((*self.absent, *self.compositions)))

    def said(self) -> dict[str | int, str]:
        """Put in words what the user says of each label."""
        absent = {label: f"no {', '.join(names)}" for label, names in self.absent.items()}
        known = {label: "its composition" for label in self.compositions}
        both = {label: f"{absent[label]}; {known[label]}" for label in absent.keys() & known.keys()}
        return absent | known | both

    def mean_model(self) -> ElementalSpectra:
        """Model of any number of phases, with the absorption of the mean composition."""
        columns, atoms = self._columns(None, None)
        return ElementalSpectra(columns[None], atoms[None], below=self._below)

    def for_phases(
        self,
        composition: np.ndarray,
        places: Mapping[str | int, int],
        photons: np.ndarray,
        mass: np.ndarray | None = None,
    ) -> Guide:
        """Calibrate the basis once more for what phases of about this composition absorb.

        Parameters
        ----------
        places : phase of each label
        photons, mass : (k,) of the phases; mass thickness over that of the film
        """
        about = [of for of, _ in self._about(composition, places)]
        heavy = np.ones(len(about)) if mass is None else mass
        return replace(self, calibration=self.calibration.for_phases(about, photons, heavy))

    def model(
        self, composition: np.ndarray, places: Mapping[str | int, int], mass: np.ndarray | None = None
    ) -> ElementalSpectra:
        """Model of phases of about this composition, which absorb as in ``for_phases``."""
        heavy = np.ones(len(composition)) if mass is None else mass
        pairs = zip(self._about(composition, places), heavy, strict=True)
        parts = [self._columns(about, known, float(one)) for (about, known), one in pairs]
        columns, atoms = (np.stack(arrays) for arrays in zip(*parts, strict=True))
        return ElementalSpectra(columns, atoms, self.allowed(len(composition), places), self._below)

    def _about(
        self, composition: np.ndarray, places: Mapping[str | int, int]
    ) -> list[tuple[dict[str, float], Mapping[str, float] | None]]:
        """For each phase: about what it is made of, and what the user knows it to be."""
        known = {row: self.compositions[label] for label, row in places.items() if label in self.compositions}
        return [
            (
                dict(known[row]) if row in known else dict(zip(self.elements, fractions, strict=True)),
                known.get(row),
            )
            for row, fractions in enumerate(composition)
        ]

    def allowed(self, phases: int, places: Mapping[str | int, int]) -> np.ndarray:
        """Columns that each phase may have, (phases, M)."""
        owner = {row: label for label, row in places.items()}
        return np.stack([self._allowed(owner.get(row)) for row in range(phases)])

    def placements(self, phases: int) -> list[dict[str | int, int]]:
        """List every assignment of the labels to phases; none where there are too many to try."""
        numbers: dict[str | int, int] = {label: label for label in self.labels if isinstance(label, int)}
        wanted = [label for label in self.labels if isinstance(label, str)]
        rest = [row for row in range(phases) if row not in numbers.values()]
        if perm(len(rest), len(wanted)) > MOST_PLACEMENTS:
            return []
        return [
            {**numbers, **dict(zip(wanted, rows, strict=True))} for rows in permutations(rest, len(wanted))
        ]

    def places(self, composition: np.ndarray) -> dict[str | int, int]:
        """Find the phase of each label: it has least of what it cannot hold, and is nearest to its own."""
        wanted = [label for label in self.labels if isinstance(label, str)]
        found: dict[str | int, int] = {label: label for label in self.labels if isinstance(label, int)}
        if not wanted:
            return found
        relative = composition / np.maximum(composition.max(axis=0), np.finfo(float).tiny)
        cost = np.zeros((len(wanted), len(composition)))
        for i, label in enumerate(wanted):
            gone = [self.elements.index(e) for e in self.absent.get(label, ())]
            cost[i] += relative[:, gone].sum(axis=1)
            if label in self.compositions:
                known = np.array([self.compositions[label].get(e, 0.0) for e in self.elements])
                cost[i] += np.abs(composition - known / known.sum()).sum(axis=1)
        cost[:, list(found.values())] = TAKEN
        rows, columns = linear_sum_assignment(cost)
        return {**found, **{wanted[r]: int(c) for r, c in zip(rows, columns, strict=True)}}

    def _columns(
        self, about: dict[str, float] | None, known: Mapping[str, float] | None, mass: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Make unit columns (M, E), and the atoms (M, elements) that one photon of each means.

        A known composition takes the place of its first element; the columns of its others are not used.
        """
        found = self.calibration
        about = about if about and sum(about.values()) > 0 else found.mean_composition
        present = {e: a for e, a in about.items() if a > 0} if found.conditions.absorbs else None
        families = found.families(present, mass)
        rows = np.array([self._row(families, owned) for owned in self._owners])
        atoms = np.array([[float(o.atoms and o.element == e) for e in self.elements] for o in self._owners])
        if known is not None:
            fractions = np.array([known.get(e, 0.0) for e in self.elements]) / sum(known.values())
            first = int(np.argmax(fractions > 0))
            rows[first], atoms[first] = fractions @ rows[: len(fractions)], fractions
        # the correction makes the basis fit; only the tables say how many atoms a line means
        counted, rows = rows.sum(axis=1, keepdims=True), rows * found.correction
        seen = counted > 0  # not so a family beside the axis of this map
        rows = rows / np.where(seen, rows.sum(axis=1, keepdims=True), 1.0)
        atoms = atoms / np.where(seen, counted, 1.0)
        if self._below > 0:
            rows = np.vstack([rows, found.below / self._below])
            atoms = np.vstack([atoms, np.zeros(atoms.shape[1])])
        return rows, atoms

    @property
    def column_elements(self) -> tuple[str | None, ...]:
        """Element of each column of the models, None of the continuum; without the column below the floor."""
        return tuple(owner.element for owner in self._owners)

    @property
    def _below(self) -> float:
        """Fraction of all photons in channels that cannot be used."""
        return float(self.calibration.below.sum())

    @property
    def _owners(self) -> tuple[Owner, ...]:
        """Columns in order: listed elements, their loose families, elements not listed, continuum."""
        found = self.calibration
        families = found.columns
        loose = [
            Owner(str(c.element), (i,), False)
            for i, c in enumerate(families)
            if found.loose[i] and c.element in self.elements
        ]
        whole = [
            Owner(e, tuple(i for i, c in enumerate(families) if c.element == e and not found.loose[i]), True)
            for e in self.elements
        ]
        unlisted = [
            Owner(e, tuple(i for i, c in enumerate(families) if c.element == e), False) for e in found.extra
        ]
        rest = [Owner(None, (i,), False) for i, c in enumerate(families) if c.kind != "lines"]
        return (*whole, *loose, *unlisted, *rest)

    def _row(self, families: Basis, owner: Owner) -> np.ndarray:
        members = list(owner.members)
        strength = self.calibration.strength[members] if len(members) > 1 else np.ones(1)
        return strength @ families.matrix[members]

    def _allowed(self, label: str | int | None) -> np.ndarray:
        owners = (*self._owners, *([Owner(None, (), False)] if self._below > 0 else []))
        gone = set(self.absent.get(label, ())) if label is not None else set()
        known = self.compositions.get(label) if label is not None else None
        if known is not None:
            gone |= {e for e in self.elements if not known.get(e, 0.0) > 0}
            first = next(e for e in self.elements if e not in gone)
            return np.array([o.element not in gone and (not o.atoms or o.element == first) for o in owners])
        return np.array([o.element not in gone for o in owners])


def checked_absent(
    absent: Absent | None, elements: Sequence[str], phases: int | None
) -> dict[str | int, tuple[str, ...]]:
    """Absences by label or number, each of listed elements; a phase must keep at least one."""
    found: dict[str | int, tuple[str, ...]] = {}
    for label, value in (absent or {}).items():
        names = (value,) if isinstance(value, str) else tuple(value)
        for name in names:
            if name not in elements:
                atomic_number(name)
                raise ParameterError(
                    f"absent[{label!r}]", name, f"elements of the list {', '.join(elements)}", "Leave it out."
                )
        if set(names) >= set(elements):
            raise ParameterError(
                f"absent[{label!r}]", list(names), "at least one element that the phase may hold"
            )
        found[label] = names
    check_labels("absent", found, phases)
    return found


def checked_compositions(
    compositions: Compositions | None,
    elements: Sequence[str],
    absent: Mapping[str | int, tuple[str, ...]],
    phases: int | None,
) -> dict[str | int, dict[str, float]]:
    """Known compositions: amounts of atoms of listed elements that the phase may hold."""
    found: dict[str | int, dict[str, float]] = {}
    for label, atoms in (compositions or {}).items():
        name = f"compositions[{label!r}]"
        for element, amount in atoms.items():
            if element not in elements:
                raise ParameterError(name, element, f"elements of the list {', '.join(elements)}")
            if not (np.isfinite(amount) and amount >= 0):
                raise ParameterError(f"{name}[{element!r}]", amount, "an amount of atoms, 0 or more")
            if amount > 0 and element in absent.get(label, ()):
                raise ParameterError(name, element, f"elements that absent[{label!r}] does not rule out")
        if not sum(atoms.values()) > 0:
            raise ParameterError(name, dict(atoms), "an amount above 0 of at least one element")
        found[label] = dict(atoms)
    check_labels("compositions", found, phases)
    return found


def check_labels(name: str, labels: Mapping[str | int, object], phases: int | None) -> None:
    """Refuse labels that cannot be phases."""
    if phases is None:
        return
    if len(labels) > phases:
        raise ParameterError(name, list(labels), f"at most as many phases as there are, {phases}")
    for label in labels:
        if isinstance(label, int) and not 0 <= label < phases:
            raise ParameterError(name, label, f"a label, or the number of a phase from 0 to {phases - 1}")
