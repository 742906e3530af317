"""Results against the schema: dimensions, kinds of numbers, labels, and fractions that sum to 1.

Only what is in memory is checked: of lazily backed variables names, dimensions and kinds are checked,
nothing is computed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import SchemaError
from edxdask.results.collections import Data, nodes_of, shared_part

SUM_TOLERANCE = 1e-3  # of fractions and spectra; single precision and saved results stay far within
NOT_PIXELS = {
    schema.ENERGY,
    schema.PHASE,
    schema.COMPONENT,
    schema.ELEMENT,
    schema.LINE,
    schema.ITERATION,
    schema.RANK,
    schema.CLUSTER,
    schema.CANDIDATE,
    schema.REGION,
}
QUANTIFIED = {  # of phases, of regions, of a sum, or of every pixel
    schema.COMPOSITION,
    schema.MASS_FRACTION,
    schema.LINE_INTENSITY,
    schema.SNR,
    schema.LOD,
    schema.CHI2_RED,
    schema.MASS_THICKNESS,
    schema.AREAL_DENSITY,
    schema.FIT_COUNTS,
    schema.FIT_EXPECTED,
    schema.FIT_CONTINUUM,
}
KINDS = {"U": "UOT"}  # texts come back from a store as objects or as variable-length strings


def check_result(result: Data, *, name: str = "result", whole: bool = False) -> None:
    """Refuse a result that is not what the schema says.

    Parameters
    ----------
    result : Dataset or DataTree
        Result of a map or of a collection.
    name : str
        What it is called in an error.
    whole : bool
        Fractions must sum to 1 wherever photons are expected; else they may sum to less, as those of selected
        phases do.

    Raises
    ------
    SchemaError
        Naming the variable, what it is, and what was expected.
    """
    shared, maps = nodes_of(result, name=name)
    _check_dataset(shared, name)
    for path, one in maps:
        where = f"{name}[{path!r}]" if path else name
        if path:
            _check_dataset(one, where)
        _check_fractions(one, where, whole=whole)
    for dim in (schema.PHASE, schema.COMPONENT):
        if dim in shared.coords:
            check_labels([str(label) for label in shared[dim].values], name=f"{name}.{dim}")
    _check_spectra(shared, name)


def check_labels(labels: Iterable[str], *, name: str) -> None:
    """Refuse labels that are empty or occur twice."""
    counted = Counter(labels)
    twice = [label for label, times in counted.items() if times > 1 or not label]
    if twice:
        raise SchemaError(
            f"{name} has the labels {list(counted.elements())}: expected each once and none empty; "
            "result.assign_coords(phase=[…]) gives others"
        )


def labels_of(result: Data) -> list[str]:
    """Labels of the phases, or of the components, of a result."""
    shared = shared_part(result)
    dim = schema.COMPONENT if schema.LOADING in shared else schema.PHASE
    if dim in shared.coords:
        return [str(label) for label in shared[dim].values]
    return [f"{dim}_{i}" for i in range(shared.sizes.get(dim, 0))]


def require_variables(dataset: xr.Dataset, names: Sequence[str], *, name: str) -> None:
    """Refuse a Dataset that lacks what is needed."""
    missing = [n for n in names if n not in dataset]
    if missing:
        have = ", ".join(map(str, dataset.data_vars)) or "nothing"
        raise SchemaError(
            f"{name} lacks {', '.join(missing)} (it has {have}); expected what nmf(...), psnmf(...), "
            "fcls(...) or pca(...) returned"
        )


def _check_dataset(ds: xr.Dataset, name: str) -> None:
    for variable in map(str, ds.data_vars):
        base = variable.removesuffix(schema.STD_SUFFIX)
        if base not in schema.VARIABLES:
            continue  # images and other data that a user keeps beside a result
        spec = schema.VARIABLES[base]
        array = ds[variable]
        if not _dims_fit(spec, set(map(str, array.dims))):
            wanted = " or ".join(map(str, _expected_dims(spec)))
            raise SchemaError(f"{name}.{variable} has dims {array.dims}, expected {wanted}")
        kinds = "f" if base != variable else "".join(KINDS.get(k, k) for k in spec.kinds)
        if array.dtype.kind not in kinds:
            raise SchemaError(
                f"{name}.{variable} has dtype {array.dtype}, expected kind {' or '.join(kinds)} "
                f"({spec.doc}): result.assign({variable}=result.{variable}.astype(...))"
            )


def _dims_fit(spec: schema.Variable, dims: set[str]) -> bool:
    own = set(spec.dims)
    rest = dims - own
    if spec.name in QUANTIFIED:
        own -= {schema.PHASE}
        rest = dims - own - {schema.PHASE, schema.REGION}
        return own <= dims and not rest & NOT_PIXELS
    if not spec.pixels:
        return dims == own
    return own <= dims and not rest & NOT_PIXELS


def _expected_dims(spec: schema.Variable) -> list[tuple[str, ...]]:
    pixels = ("…",) if spec.pixels else ()
    return [(*spec.dims, *pixels)] if spec.dims != (schema.ENERGY,) else [(*pixels, *spec.dims)]


def _in_memory(array: xr.DataArray) -> bool:
    return array.chunks is None and array.variable._in_memory


def _check_fractions(ds: xr.Dataset, name: str, *, whole: bool) -> None:
    """Fractions of the photons are between 0 and 1 and sum to 1 where photons are expected."""
    if not {schema.ABUNDANCE, schema.TOTAL} <= set(ds.data_vars):
        return
    abundance, total = ds[schema.ABUNDANCE], ds[schema.TOTAL]
    if not (_in_memory(abundance) and _in_memory(total)) or not total.size:
        return
    values = abundance.transpose(schema.PHASE, *total.dims).values
    seen = total.values > 0
    sums = values.sum(axis=0)[seen]
    low, high = (1 - SUM_TOLERANCE if whole else -SUM_TOLERANCE), 1 + SUM_TOLERANCE
    bad = ~((sums >= low) & (sums <= high))
    if bad.any():
        raise SchemaError(
            f"{name}.abundance sums to {float(sums[bad][0]):.4g} over the phases in {int(bad.sum())} of "
            f"{sums.size} pixels with photons; expected {'1' if whole else 'at most 1'}: fractions of the "
            "photons. abundance / abundance.sum('phase') are fractions"
        )


def _check_spectra(shared: xr.Dataset, name: str) -> None:
    """Spectra of phases are finite, and each sums to 1 or, cut to a part of the axis, to less."""
    if schema.SPECTRUM not in shared or not _in_memory(shared[schema.SPECTRUM]):
        return
    values = shared[schema.SPECTRUM].transpose(schema.PHASE, schema.ENERGY).values
    sums = values.sum(axis=1)
    bad = ~(np.isfinite(values).all(axis=1) & (sums <= 1 + SUM_TOLERANCE))
    if bad.any():
        row = int(np.argmax(bad))
        raise SchemaError(
            f"{name}.spectrum of phase {row} sums to {float(sums[row]):.4g}; expected finite values that sum "
            "to 1: spectrum / spectrum.sum('energy')"
        )
