"""What traces and profiles begin with: maps, the phases of a result, and masks of the precipitates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import CorruptStoreError, ParameterError, SchemaError
from edxdask.factorize.guidance.guide import Absent
from edxdask.factorize.guidance.request import PhysicsRequest, physics_request
from edxdask.progress import Progress, ProgressHook
from edxdask.results.check import check_result, labels_of, require_variables
from edxdask.results.collections import ALONE, Data, cubes_in, nodes_of, shared_part
from edxdask.unmix.grouped_maps import PhotonSums, Reading, read_groups
from edxdask.unmix.groups import GroupLayout, lay_out
from edxdask.unmix.known_phases import Fractions, label_of
from edxdask.unmix.left_open import LeftOpen
from edxdask.unmix.regions import Regions
from edxdask.unmix.verdicts import UNREAD

# Least distance of a core from masks. That of a result is chosen where a precipitate's major element is not
# seen any more; traces of the matrix may be a sigma off there, and 2 px cost a few per cent of their error.
MARGIN_PX = 2.0
LEAST_FRACTION = 0.1  # abundance of a pixel that is in the mask of a precipitate
READING = "reading"


@dataclass(frozen=True, eq=False)
class PhasesOfMaps:
    """Maps with the phases of a result.

    Attributes
    ----------
    phases : names, in the order of the result
    matrix : the one around the precipitates
    request : elements, and what phases cannot hold
    composition : (phases, elements) to begin with
    margin : px from masks beyond which there is nothing of a precipitate
    cubes : by map
    fractions : (phases, y, x) by map, read when asked for: those of many maps need not fit in memory
    regions : by map
    left_open : what the result says of its own errors
    history : of the result, or of the first map where it has none
    """

    phases: tuple[str, ...]
    matrix: str
    request: PhysicsRequest
    composition: np.ndarray
    margin: float
    cubes: Mapping[str, xr.Dataset]
    fractions: Mapping[str, np.ndarray]
    regions: Mapping[str, Regions]
    left_open: LeftOpen
    history: tuple[str, ...]

    @property
    def home(self) -> int:
        """Number of the matrix."""
        return self.phases.index(self.matrix)

    def layout(self, name: str) -> GroupLayout:
        """Give the groups of the pixels of a map."""
        return lay_out(self.regions[name], self.fractions[name], self.phases, self.matrix, self.margin)

    def read(
        self,
        layouts: Mapping[str, GroupLayout],
        reading: Reading,
        *,
        step: str,
        progress: ProgressHook | None = None,
    ) -> tuple[list[PhotonSums], dict[str, str]]:
        """Read all maps, one after the other; also says which cannot be read, and why.

        A single map that is damaged raises; of a collection the others are read.
        """
        sums: list[PhotonSums] = []
        unread: dict[str, str] = {}
        for done, (name, cube) in enumerate(self.cubes.items(), start=1):
            try:
                sums.append(
                    read_groups(
                        cube, layouts[name], self.fractions[name], name=name, step=step, reading=reading
                    )
                )
            except CorruptStoreError as error:
                if len(self.cubes) == 1:
                    raise
                unread[name] = f"{UNREAD}: {error}"
            if progress:
                progress(Progress(READING, done, len(self.cubes), "map"))
        return sums, unread


def phases_of_maps(
    data: Data,
    result: Data,
    *,
    matrix: str | int | None = None,
    absent: Absent | None = None,
    margin: float | None = None,
) -> PhasesOfMaps:
    """Check maps and result, and bring them together.

    Raises
    ------
    ParameterError, SchemaError
        If the result is not one of phases with elements, or not of these maps.
    """
    cubes = {name: schema.validate_cube(cube, name=name or "data") for name, cube in cubes_in(data).items()}
    root, nodes = shared_part(result), dict(nodes_of(result)[1])
    require_variables(root, (schema.SPECTRUM,), name="result")
    check_result(result)
    labels = labels_of(result)
    if margin is not None and not (np.isfinite(margin) and margin >= 0):
        raise ParameterError("margin", margin, "a distance in pixels, 0 or more")
    elements = _elements(root)
    request = physics_request(elements, _absent(root, labels, elements, absent), None, len(labels), True)
    if request is None:
        raise ParameterError("result", "no elements", "a result of named elements", "psnmf(elements=[...]).")
    fractions = Fractions({name: _fractions(nodes, name, cube) for name, cube in cubes.items()})
    home = _matrix(matrix, labels, fractions)
    regions = {name: _regions(nodes[name], fractions, name, labels, home) for name in cubes}
    width = max(root.attrs.get(schema.CORE_WIDTH, 0.0), MARGIN_PX) if margin is None else margin
    return PhasesOfMaps(
        tuple(labels),
        home,
        request,
        _composition(root, request, labels),
        float(width),
        cubes,
        fractions,
        regions,
        LeftOpen.of(root, labels, request.elements),
        _history(root, next(iter(cubes.values()))),
    )


def _history(*of: xr.Dataset) -> tuple[str, ...]:
    """Give the first history that there is."""
    told = (one.attrs.get(schema.HISTORY, ()) for one in of)
    lines = next((lines for lines in told if len(lines)), ())
    return (lines,) if isinstance(lines, str) else tuple(map(str, lines))


def _elements(root: xr.Dataset) -> list[str]:
    if schema.COMPOSITION in root:
        return [str(element) for element in root[schema.ELEMENT].values]
    listed = list(root.attrs.get(schema.ELEMENTS, ()))
    if not listed:
        raise SchemaError(
            "the result names no elements, which traces are made of: psnmf(data, elements=['Mg', 'Si', …])"
        )
    return [str(element) for element in listed]


def _absent(
    root: xr.Dataset, labels: Sequence[str], elements: Sequence[str], absent: Absent | None
) -> dict[str | int, tuple[str, ...]]:
    """Find what phases cannot hold: as given, else what the result's own fit ruled out (0, with no error)."""
    if absent is not None:
        return {
            label_of(label, labels, "absent"): (value,) if isinstance(value, str) else tuple(value)
            for label, value in absent.items()
        }
    std = schema.COMPOSITION + schema.STD_SUFFIX
    if std not in root:
        return {}
    dims = (schema.PHASE, schema.ELEMENT)
    values, errors = (root[name].transpose(*dims).values for name in (schema.COMPOSITION, std))
    gone = (values == 0) & (errors == 0)
    return {
        label: tuple(element for element, out in zip(elements, row, strict=True) if out)
        for label, row in zip(labels, gone, strict=True)
        if row.any()
    }


def _composition(root: xr.Dataset, request: PhysicsRequest, labels: Sequence[str]) -> np.ndarray:
    """Compositions to begin with; the same amount of everything where the result has none."""
    if schema.COMPOSITION not in root:
        return np.full((len(labels), len(request.elements)), 1.0 / len(request.elements))
    found = root[schema.COMPOSITION].transpose(schema.PHASE, schema.ELEMENT)
    return np.nan_to_num(found.sel({schema.ELEMENT: list(request.elements)}).values.astype(np.float64))


def _fractions(nodes: Mapping[str, xr.Dataset], name: str, cube: xr.Dataset) -> xr.DataArray:
    """Abundances of a map, over (phase, y, x); lazy where they are in a store."""
    if name not in nodes or schema.ABUNDANCE not in nodes[name]:
        have = ", ".join(map(repr, nodes)) if name != ALONE else "a collection"
        what = f"map {name!r}" if name != ALONE else "one map"
        raise ParameterError("result", have, f"a result of the same maps: it has no abundances of {what}")
    maps = nodes[name][schema.ABUNDANCE]
    pixels = schema.pixel_dims(cube)
    if set(pixels) != {schema.Y, schema.X}:
        raise SchemaError(f"pixels are over {pixels}; masks and distances need maps over y and x")
    values = maps.transpose(schema.PHASE, schema.Y, schema.X)
    if values.shape[1:] != (cube.sizes[schema.Y], cube.sizes[schema.X]):
        raise SchemaError(
            f"map {name!r} has {cube.sizes[schema.Y]} × {cube.sizes[schema.X]} pixels, its abundances "
            f"{values.shape[1]} × {values.shape[2]}: give the cube that was factorized"
        )
    return values


def _matrix(matrix: str | int | None, labels: Sequence[str], fractions: Mapping[str, np.ndarray]) -> str:
    """Give the matrix as named, else the phase that fills most pixels."""
    if matrix is not None:
        return label_of(matrix, labels, "matrix")
    filled = np.sum([one.sum(axis=(1, 2)) for one in fractions.values()], axis=0)
    return labels[int(np.argmax(filled))]


def _regions(
    node: xr.Dataset, fractions: Mapping[str, np.ndarray], name: str, labels: Sequence[str], matrix: str
) -> Regions:
    """Masks that the result has, else where abundances are above a tenth."""
    if schema.MASK in node:
        masks = node[schema.MASK].transpose(schema.PHASE, schema.Y, schema.X).values.astype(bool)
    else:
        masks = fractions[name] > LEAST_FRACTION
    of = zip(labels, masks, strict=True)
    return Regions.of({label: mask for label, mask in of if label != matrix})


def chosen_elements(elements: Sequence[str] | str | None, request: PhysicsRequest) -> list[str]:
    """Elements to report, all where none are named; each must be part of the fit."""
    if elements is None:
        return list(request.elements)
    names = [elements] if isinstance(elements, str) else list(elements)
    for name in names:
        if name not in request.elements:
            known = ", ".join(request.elements)
            raise ParameterError(
                "elements", name, f"elements of the result, {known}", "Unmix with it in the list of elements."
            )
    return names
