"""What is found about the phases, and their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from edxdask.errors import ParameterError
from edxdask.readable import closest

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Phases:
    """Spectra and abundances, and what is known about the phases.

    Attributes
    ----------
    spectra, abundance, objectives : (k, E), (pixels or bins, k) in counts, (iterations,)
    labels : of the phases; None where they are numbered by size later
    owners : (k,) which label of the guide each phase has, -1 none; None without elements
    composition, composition_std : (k, elements); None without elements
    flat_tops : phases whose spectrum is the mixture at the flat top of their map; None where nobody looked
    composition_low, composition_high : (k, elements) that fit equally well; None without elements
    least, most : (k, k) of each other phase that may be taken away from a phase, or added; None if not known
    notes : what a person should know of the labels
    solutions : number of different ones that explain the counts equally well
    others : (n, k, E) spectra of other solutions that explain the counts equally well, in any order
    distance, angle : (k,) largest part of its photons that another solution has in other channels; degrees
    """

    spectra: np.ndarray
    abundance: np.ndarray
    objectives: np.ndarray
    labels: tuple[str, ...] | None = None
    owners: np.ndarray | None = None
    composition: np.ndarray | None = None
    composition_std: np.ndarray | None = None
    flat_tops: np.ndarray | None = None
    composition_low: np.ndarray | None = None
    composition_high: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    solutions: int = 1
    others: np.ndarray | None = None
    least: np.ndarray | None = None
    most: np.ndarray | None = None
    distance: np.ndarray | None = None
    angle: np.ndarray | None = None

    def arrays(self) -> Arrays:
        """Everything as arrays, without pickles."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: np.asarray(value) for name, value in found.items() if value is not None}

    @classmethod
    def of(cls, arrays: Arrays) -> Phases:
        """Read back what ``arrays`` wrote."""
        found: dict[str, Any] = dict(arrays)
        if "labels" in found:
            found["labels"] = tuple(map(str, found["labels"]))
        found["notes"] = tuple(map(str, found.get("notes", ())))
        found["solutions"] = int(found.get("solutions", 1))
        return cls(**found)

    def in_order(self, order: Sequence[int] | np.ndarray) -> Phases:
        """Give the phases in another order."""
        rows = np.asarray(order, dtype=np.intp)

        def turned(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else array[rows]

        def turned_twice(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else array[np.ix_(rows, rows)]

        return Phases(
            self.spectra[rows],
            self.abundance[:, rows],
            self.objectives,
            labels=None if self.labels is None else tuple(self.labels[i] for i in rows),
            owners=turned(self.owners),
            composition=turned(self.composition),
            composition_std=turned(self.composition_std),
            flat_tops=None if self.flat_tops is None else np.flatnonzero(np.isin(rows, self.flat_tops)),
            composition_low=turned(self.composition_low),
            composition_high=turned(self.composition_high),
            notes=self.notes,
            solutions=self.solutions,
            others=self.others,
            least=turned_twice(self.least),
            most=turned_twice(self.most),
            distance=turned(self.distance),
            angle=turned(self.angle),
        )


@dataclass(frozen=True)
class WantedPhases:
    """Number of phases, and their names if the user gave them.

    Attributes
    ----------
    number : None finds it
    names : empty where phases are numbered
    """

    number: int | None
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, phases: Any) -> WantedPhases:
        """Check what the user gave; numbers are checked against the data later.

        Raises
        ------
        ParameterError
            If names are empty, occur twice, or are not text.

        Examples
        --------
        >>> WantedPhases.of(3), WantedPhases.of(["Brg", "Fp"])
        (WantedPhases(number=3, names=()), WantedPhases(number=2, names=('Brg', 'Fp')))
        """
        if phases is None or (np.ndim(phases) == 0 and not isinstance(phases, str)):
            return cls(phases)
        expected = "a number, or a list of names that are different and not empty"
        if isinstance(phases, str):
            raise ParameterError("phases", phases, expected, f"For one phase of that name: [{phases!r}].")
        given = list(phases)
        names = tuple(str(name).strip() for name in given if isinstance(name, str))
        if len(names) < len(given) or not given or "" in names or len(set(names)) < len(names):
            raise ParameterError("phases", given, expected, 'As in phases=["Brg", "Fp", "CaPv"].')
        return cls(len(names), names)

    def check_labels(self, parameter: str, labels: Mapping[str | int, object]) -> None:
        """Refuse labels that are not among the names.

        Raises
        ------
        ParameterError
            If there are names, and a label that is not one of them.
        """
        for label in labels:
            if self.names and isinstance(label, str) and label not in self.names:
                near = closest(label, self.names)
                fix = f"Did you mean {near}?" if near else ""
                raise ParameterError(parameter, label, f"names among phases={list(self.names)}", fix)

    def rows_by_name(self, sizes: np.ndarray, known: Mapping[int, str]) -> list[int]:
        """Row of each name: the known ones, and the others from the biggest phase down.

        Parameters
        ----------
        sizes : (k,) of the phases
        known : names of rows that are known already

        Examples
        --------
        >>> WantedPhases(3, ("Brg", "Fp", "CaPv")).rows_by_name(np.array([1.0, 5.0, 2.0]), {2: "Brg"})
        [2, 1, 0]
        """
        taken = {name: row for row, name in known.items() if name in self.names}
        rest = iter(row for row in np.argsort(-sizes, kind="stable").tolist() if row not in taken.values())
        return [taken[name] if name in taken else next(rest) for name in self.names]
