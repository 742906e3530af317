"""What is known of the phases before masks are made: names, spectra, abundances, what they cannot hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.factorize.guidance.guide import Absent
from edxdask.factorize.guidance.request import PhysicsRequest, physics_request
from edxdask.results.check import check_result, labels_of, require_variables
from edxdask.results.collections import Data, nodes_of, shared_part
from edxdask.unmix.left_open import LeftOpen

PUREST = 0.25  # of the pixels of a map, those with most of the matrix


class Fractions(Mapping[str, np.ndarray]):
    """Abundances (phase, y, x) by map, read when asked for: those of many maps need not fit in memory."""

    def __init__(self, maps: Mapping[str, xr.DataArray]) -> None:
        self._maps = dict(maps)

    def __getitem__(self, name: str) -> np.ndarray:
        """Read the abundances of one map."""
        return np.asarray(self._maps[name].values, dtype=np.float64)

    def __iter__(self) -> Iterator[str]:
        """Names of the maps."""
        return iter(self._maps)

    def __len__(self) -> int:
        """Count the maps."""
        return len(self._maps)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Give the shape (y, x) of a map; None where there is none of this name."""
        return self._maps[name].shape[1:] if name in self._maps else None

    def only(self, names: Iterable[str]) -> Fractions:
        """Keep some of the maps."""
        return Fractions({name: self._maps[name] for name in names})


@dataclass(frozen=True, eq=False)
class KnownPhases:
    """The matrix and the precipitates, as a result has them.

    Attributes
    ----------
    names : the matrix, then the precipitates
    spectra : (phases, E) of unit sum
    energy : (E,) keV, of these spectra
    fractions : (phases, y, x) abundances, by map
    composition : (phases, elements) atomic fractions; None where the result has none
    request : elements, and what phases cannot hold
    left_open : what the result says of its own errors
    """

    names: tuple[str, ...]
    spectra: np.ndarray
    energy: np.ndarray
    fractions: Fractions
    composition: np.ndarray | None
    request: PhysicsRequest
    left_open: LeftOpen

    @property
    def matrix(self) -> str:
        """Name of the matrix."""
        return self.names[0]

    @cached_property
    def purest(self) -> np.ndarray:
        """Abundances (phases,) where the matrix is purest, which masks take to be pure matrix.

        The spectrum of a matrix that is pure nowhere may lack some of an element, or have too much of it;
        then all pixels seem to hold a little of a precipitate.
        """
        found = np.eye(len(self.names))[0]
        best = -1.0
        for maps in self.fractions.values():
            pixels = maps.reshape(len(self.names), -1)
            filled = pixels[:, pixels.sum(axis=0) > 0]
            if not filled.size:
                continue
            kept = filled[:, filled[0] >= np.quantile(filled[0], 1 - PUREST)].mean(axis=1)
            if kept[0] > best:
                found, best = kept / kept.sum(), float(kept[0])
        return found

    @property
    def precipitates(self) -> tuple[str, ...]:
        """Names of the others."""
        return self.names[1:]

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements that compositions are made of."""
        return self.request.elements

    def absent_rows(self, name: str) -> list[int]:
        """Give the numbers of the elements that a precipitate cannot hold."""
        return [self.elements.index(element) for element in self.request.absent[name]]


def known_phases(
    result: Data,
    matrix: str | int,
    absent: Absent,
    *,
    elements: Sequence[str] | str | None = None,
    refine_axis: bool = True,
) -> KnownPhases:
    """Read a result, and check what the user says of its phases.

    Raises
    ------
    SchemaError, ParameterError
        If it is no result of phases, or a label, element or absence cannot be.
    """
    root = shared_part(result)
    require_variables(root, (schema.SPECTRUM,), name="result")
    check_result(result)
    labels = labels_of(result)
    if len(labels) < 2:
        raise ParameterError("result", labels, "a result of two phases or more: a matrix and a precipitate")
    home = label_of(matrix, labels, "matrix")
    gone: dict[str | int, str | Sequence[str]] = {}
    for label, value in absent.items():
        gone[label_of(label, labels, "absent")] = value
    names = (home, *(label for label in labels if label != home))
    check_absences(home, names[1:], gone)
    request = physics_request(_elements(root, elements), gone, None, len(names), refine_axis)
    if request is None or not request.elements:
        raise ParameterError("elements", elements, "the elements of the sample", "Name them: elements=[...].")
    rows = [labels.index(name) for name in names]
    return KnownPhases(
        names,
        root[schema.SPECTRUM].transpose(schema.PHASE, schema.ENERGY).values[rows].astype(np.float64),
        root[schema.ENERGY].values.astype(np.float64),
        _fractions(result, rows),
        _composition(root, request.elements, rows),
        request,
        LeftOpen.of(root, names, request.elements),
    )


def check_absences(matrix: str, precipitates: Sequence[str], absent: Mapping[str | int, object]) -> None:
    """Refuse absences that are not those of all precipitates.

    Raises
    ------
    ParameterError
        Naming the precipitate, or the matrix.
    """
    if matrix in absent:
        raise ParameterError(
            "absent",
            matrix,
            f"precipitates; {matrix!r} is the matrix, which is subtracted from them",
            "Leave it out.",
        )
    for name in precipitates:
        if name not in absent:
            raise ParameterError(
                "absent",
                dict(absent),
                f"an element that each precipitate cannot hold; of {name!r} none is named",
                f"Name one that the matrix holds, as in absent={{{name!r}: 'Si'}}.",
            )


def label_of(label: str | int, labels: Sequence[str], parameter: str) -> str:
    """Give the label of a phase, by its name or number."""
    if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(labels):
        return labels[label]
    if label in labels:
        return str(label)
    known = ", ".join(map(repr, labels))
    raise ParameterError(parameter, label, f"one of the phases of the result, {known}")


def _elements(root: xr.Dataset, elements: Sequence[str] | str | None) -> Sequence[str] | str | None:
    if elements is not None:
        return elements
    if schema.ELEMENT in root.coords and schema.COMPOSITION in root:
        return [str(element) for element in root[schema.ELEMENT].values]
    return root.attrs.get(schema.ELEMENTS) or None


def _fractions(result: Data, rows: list[int]) -> Fractions:
    """Abundances of the maps of a result that have them."""
    found = {}
    for path, one in nodes_of(result)[1]:
        if schema.ABUNDANCE not in one:
            continue
        pixels = [d for d in one[schema.ABUNDANCE].dims if d != schema.PHASE]
        if set(pixels) != {schema.Y, schema.X}:
            raise SchemaError(f"abundances are over {pixels}; masks need maps over y and x")
        found[path] = one[schema.ABUNDANCE].transpose(schema.PHASE, schema.Y, schema.X)[rows]
    return Fractions(found)


def _composition(root: xr.Dataset, elements: Sequence[str], rows: list[int]) -> np.ndarray | None:
    """Compositions of a guided result, of these elements; None where one is not in it."""
    if schema.COMPOSITION not in root or not set(elements) <= set(map(str, root[schema.ELEMENT].values)):
        return None
    found = (
        root[schema.COMPOSITION].transpose(schema.PHASE, schema.ELEMENT).sel({schema.ELEMENT: list(elements)})
    )
    values = np.nan_to_num(found.values[rows].astype(np.float64))
    sums = values.sum(axis=1, keepdims=True)
    return None if not (sums > 0).all() else values / sums
