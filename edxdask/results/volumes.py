"""Volumes of phases: build and check the Dataset that tomography gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask._version import __version__
from edxdask.errors import ParameterError, SchemaError
from edxdask.results.check import check_labels, check_result
from edxdask.results.collections import Data, is_collection
from edxdask.results.kinds import Kind, kind_of, said

VOXELS = (schema.Z, schema.Y, schema.X)
FRACTION, PHOTONS = VOLUME_KINDS = ("fraction", "photons")
TOLERANCE = 5e-3  # of fractions: half precision, and what one step of an iteration goes beyond the cap


def make_volume(
    volume: Any,
    *,
    phases: Sequence[str],
    coords: Mapping[str, Any],
    variables: Mapping[str, Any] | None = None,
    kind: str = FRACTION,
    attrs: Mapping[str, Any] | None = None,
    entry: str,
) -> xr.Dataset:
    """Label volumes of phases, and all that is known with them.

    Parameters
    ----------
    volume : array or dask array
        Fractions, or photons, (phase, z, y, x).
    phases : sequence of str
        Labels, in the order of the volume.
    coords : mapping
        By dimension: ``z``, ``y`` and ``x`` as variables with units, where they are known; ``tilt`` in
        degrees, ``energy``, ``element``, ``iteration`` where a variable needs them.
    variables : mapping, optional
        Arrays by their name in the schema, such as ``spectrum``, ``tilt_shift_x`` or ``tilt_chi2``, or this
        name with ``_std``; None is left out.
    kind : {"fraction", "photons"}
        What the volume counts.
    attrs : mapping, optional
        Attributes; those of the tilt series go on.
    entry : str
        Line of the history.

    Returns
    -------
    Dataset
        Checked with ``check_volume``; of a dask array nothing is computed.

    Examples
    --------
    >>> made = make_volume(
    ...     np.full((1, 2, 3, 4), 0.5, "f4"),
    ...     phases=["core"],
    ...     coords={"z": depth_coordinate(2, 1.5), "tilt": [-30.0, 30.0]},
    ...     variables={"tilt_chi2": [1.0, 1.1]},
    ...     entry="tomography(…)",
    ... )
    >>> made.volume.dims, made.z.values.tolist(), made.tilt_chi2.dims
    (('phase', 'z', 'y', 'x'), [-0.75, 0.75], ('tilt',))
    """
    if kind not in VOLUME_KINDS:
        raise ParameterError("kind", kind, " or ".join(map(repr, VOLUME_KINDS)))
    known = {name: values for name, values in (variables or {}).items() if values is not None}
    unknown = [name for name in known if name.removesuffix(schema.STD_SUFFIX) not in schema.VARIABLES]
    if unknown:
        raise ParameterError("variables", unknown, "names of the schema")
    own: dict[str, Any] = {schema.VOLUME: ((schema.PHASE, *VOXELS), volume, _volume_attrs(kind))}
    for name, values in known.items():
        base = name.removesuffix(schema.STD_SUFFIX)
        words = schema.variable_attrs(base)
        if base != name:
            words["long_name"] = f"standard deviation: {words['long_name']}"
        own[name] = (schema.dims_of(base, VOXELS), _plain(values), words)
    labels = {schema.PHASE: list(phases)}
    for dim, values in coords.items():
        labels[dim] = _coordinate(dim, values)
    kept: dict[Any, Any] = {k: v for k, v in (attrs or {}).items() if k != schema.COMPLETE}
    kept |= {schema.VOLUME_KIND: kind, schema.EDXDASK_VERSION: __version__}
    try:
        made = xr.Dataset(own, coords=labels, attrs=schema.with_history(kept, entry))
    except ValueError as error:
        raise SchemaError(f"the parts of a volume do not fit one another: {error}") from error
    check_volume(made)
    return made


def depth_coordinate(count: int, step: float | None, *, unit: str = "nm") -> xr.Variable:
    """Give ``z`` from the middle; in pixels where the step is not known.

    Examples
    --------
    >>> depth_coordinate(3, 2.0).values.tolist(), depth_coordinate(3, None).attrs
    ([-2.0, 0.0, 2.0], {'units': 'px'})
    """
    places = np.arange(count, dtype=np.float64) - (count - 1) / 2
    if step is None:
        return xr.Variable(schema.Z, places, {"units": schema.PIXEL_UNIT})
    return xr.Variable(schema.Z, places * step, {"units": unit})


def check_volume(volume: Data, *, name: str = "volume") -> xr.Dataset:
    """Return ``volume`` if it is what the schema says, else raise an error that says what is wrong.

    Fractions are checked where they are in memory; nothing lazy is computed.

    Raises
    ------
    SchemaError
        Naming the variable, what it is, and what was expected.
    """
    if is_collection(volume) or not isinstance(volume, xr.Dataset) or kind_of(volume) is not Kind.VOLUME:
        have = said(volume) if isinstance(volume, xr.Dataset | xr.DataTree) else type(volume).__name__
        raise SchemaError(f"{name} is {have}; expected {Kind.VOLUME.value}: edxdask.tomography(tilts)")
    array = volume[schema.VOLUME]
    wanted = (schema.PHASE, *VOXELS)
    if array.dims != wanted:
        raise SchemaError(f"{name}.volume has dims {array.dims}, expected {wanted}")
    if 0 in array.shape:
        raise SchemaError(f"{name}.volume is empty: {dict(array.sizes)}")
    check_result(volume, name=name)
    check_labels([str(label) for label in volume[schema.PHASE].values], name=f"{name}.phase")
    kind = volume.attrs.get(schema.VOLUME_KIND)
    if kind not in VOLUME_KINDS:
        raise SchemaError(
            f"{name} has the volume_kind {kind!r}, expected {' or '.join(map(repr, VOLUME_KINDS))}: "
            "volume.assign_attrs(volume_kind=…)"
        )
    if array.chunks is None and array.variable._in_memory:
        _check_values(array, kind, name)
    return volume


def is_fraction(volume: xr.Dataset) -> bool:
    """Whether a volume holds fractions of voxels, not photons."""
    return bool(volume.attrs.get(schema.VOLUME_KIND) == FRACTION)


def _check_values(array: xr.DataArray, kind: str, name: str) -> None:
    low, high = float(array.values.min()), float(array.values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise SchemaError(f"{name}.volume has values that are not finite; expected {kind}s of voxels")
    if low < -TOLERANCE or (kind == FRACTION and high > 1 + TOLERANCE):
        bounds = "between 0 and 1" if kind == FRACTION else "from 0"
        fix = "" if low < -TOLERANCE else "; where yields are not known, volume_kind is 'photons'"
        raise SchemaError(f"{name}.volume is {low:.4g} to {high:.4g}, expected {kind}s {bounds}{fix}")


def _volume_attrs(kind: str) -> dict[str, str]:
    attrs = schema.variable_attrs(schema.VOLUME)
    if kind == PHOTONS:
        attrs |= {"units": "counts", "long_name": "photons of a phase from a voxel, exposure 1"}
    return attrs


def _plain(values: Any) -> Any:
    """Take the values of labelled arrays; those of others as they are."""
    return values.variable.data if isinstance(values, xr.DataArray) else values


def _coordinate(dim: str, values: Any) -> Any:
    if isinstance(values, xr.DataArray):
        return values.variable
    if isinstance(values, xr.Variable):
        return values
    attrs = {"units": schema.COORDINATE_UNITS[dim]} if dim in schema.COORDINATE_UNITS else {}
    return xr.Variable((dim,), np.asarray(values), attrs)
