"""Results as HyperSpy's decompositions and back: spectra are factors, counts of phases in pixels loadings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.io.export.metadata import RECORD
from edxdask.results.check import check_result
from edxdask.results.collections import Data, cubes_in, nodes_of, shared_part
from edxdask.results.reconstruct import check_same_pixels, factors_of, reconstruct

KEPT = "decomposition"  # in our branch of original_metadata: what HyperSpy has no place for
ALGORITHM = "edxdask"


@dataclass(frozen=True, eq=False)
class Decomposition:
    """One map of a result, as HyperSpy holds a decomposition: counts = loadings · factorsᵀ.

    Attributes
    ----------
    factors : (channels, k)
    loadings : (pixels, k), pixels in C order
    labels : of the phases or components
    attrs : of the result
    """

    factors: np.ndarray
    loadings: np.ndarray
    labels: tuple[str, ...]
    attrs: Mapping[str, Any]

    def learning_results(self) -> dict[str, Any]:
        """Attributes of HyperSpy's ``learning_results``."""
        count = len(self.labels)
        return {
            "factors": self.factors,
            "loadings": self.loadings,
            "decomposition_algorithm": ALGORITHM,
            "output_dimension": count,
            "number_significant_components": count,
            "poissonian_noise_normalized": False,
        }

    def record(self) -> dict[str, Any]:
        """Labels and attributes, for our branch of ``original_metadata``."""
        return {KEPT: [schema.as_json({"labels": list(self.labels), "attrs": dict(self.attrs)})]}


def decompositions_of(
    result: Data, counts: Data | None = None
) -> dict[str, tuple[xr.Dataset, Decomposition]]:
    """Cube and decomposition of every map of a result, by name; the cube is lazy.

    Parameters
    ----------
    result : Dataset or DataTree
        Of a factorization or a PCA. What a PCA was centred on is one more component.
    counts : Dataset or DataTree, optional
        Cube or collection that was factorized; None: what the result expects, as float32.

    Raises
    ------
    ParameterError, SchemaError
        If ``counts`` are not those of the result.
    """
    factors = factors_of(result)
    cubes = _expected(result) if counts is None else cubes_in(counts, name="counts")
    names = [piece.name for piece in factors.maps]
    if list(cubes) != names and set(cubes) != set(names):
        raise ParameterError("counts", list(cubes), f"the maps of the result: {', '.join(names)}")
    found = {}
    for piece in factors.maps:
        cube = cubes[piece.name]
        check_same_pixels(cube[schema.COUNTS], piece, factors)
        loadings = np.asarray(piece.amounts.data, dtype=np.float64).reshape(len(factors.labels), -1).T
        attrs = {**shared_part(result).attrs, **piece.dataset.attrs}
        one = Decomposition(factors.spectra.T.copy(), np.ascontiguousarray(loadings), factors.labels, attrs)
        found[piece.name] = cube, one
    return found


def _expected(result: Data) -> dict[str, xr.Dataset]:
    """Put what a result expects in the place of counts."""
    return {
        name: one[[schema.EXPECTED]].rename({schema.EXPECTED: schema.COUNTS})
        for name, one in nodes_of(reconstruct(result))[1]
    }


def result_of(learned: Any, coords: Mapping[str, Any], original: Mapping[str, Any]) -> xr.Dataset:
    """Make a result of HyperSpy's ``learning_results``: phases where nothing is negative, else components.

    Parameters
    ----------
    learned : LearningResults
        Of a signal.
    coords : mapping
        Coordinates of the pixel dimensions, in order, and of the energy.
    original : mapping
        The signal's ``original_metadata``, in which the labels are if the decomposition is ours.

    Raises
    ------
    ParameterError
        If there is no decomposition, or one of centred data.
    """
    if learned.factors is None or learned.loadings is None:
        fix = "signal.decomposition(algorithm='NMF', output_dimension=3) makes one."
        raise ParameterError("decomposition", True, "a signal with a decomposition", fix)
    if learned.centre is not None:
        fix = "signal.decomposition(..., centre=None) makes one."
        raise ParameterError("decomposition", True, "a decomposition of data that are not centred", fix)
    factors = np.asarray(learned.factors, dtype=np.float64).T
    dims = [dim for dim in coords if dim != schema.ENERGY]
    shape = tuple(coords[dim].size for dim in dims)
    amounts = np.nan_to_num(np.asarray(learned.loadings, dtype=np.float64)).T.reshape(-1, *shape)
    kept = _kept(original)
    labels = kept.get("labels", [])
    labels = labels if len(labels) == len(factors) else []
    if factors.min() < 0 or amounts.min() < 0:
        coords = {**coords, schema.COMPONENT: labels or [f"component_{i}" for i in range(len(factors))]}
        rows = {
            schema.LOADING: ((schema.COMPONENT, schema.ENERGY), factors),
            schema.SCORE: ((schema.COMPONENT, *dims), amounts),
        }
        made = xr.Dataset(rows, coords)
    else:
        coords = {**coords, schema.PHASE: labels or [f"phase_{i}" for i in range(len(factors))]}
        made = _phases(factors, amounts, coords)
    check_result(made)
    return made.assign_attrs(kept.get("attrs", {}))


def _phases(factors: np.ndarray, amounts: np.ndarray, coords: Mapping[str, Any]) -> xr.Dataset:
    """Spectra that sum to 1, fractions that sum to 1 where there is something, and their total."""
    dims = [dim for dim in coords if dim not in (schema.ENERGY, schema.PHASE)]
    sums = factors.sum(axis=1)
    photons = amounts * sums.reshape(-1, *[1] * len(dims))
    total = photons.sum(axis=0)
    fractions = np.divide(photons, total, out=np.zeros_like(photons), where=total > 0)
    spectra = np.divide(factors, sums[:, None], out=np.zeros_like(factors), where=sums[:, None] > 0)
    return xr.Dataset(
        {
            schema.SPECTRUM: ((schema.PHASE, schema.ENERGY), spectra),
            schema.ABUNDANCE: ((schema.PHASE, *dims), fractions),
            schema.TOTAL: (dims, total, {"units": "counts"}),
        },
        dict(coords),
    )


def _kept(original: Mapping[str, Any]) -> dict[str, Any]:
    """Give what we wrote beside a decomposition; nothing where it is not ours."""
    text = (original.get(RECORD) or {}).get(KEPT)
    return {} if text is None else dict(json.loads(str(np.asarray(text).reshape(-1)[0])))
