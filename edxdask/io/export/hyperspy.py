"""HyperSpy signals to cubes and back, in memory or lazy; needs ``edxdask[hyperspy]``."""

from __future__ import annotations

import sys
from typing import Any, overload

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.io.arrays import from_array
from edxdask.io.export.decomposition import Decomposition, decompositions_of, result_of
from edxdask.io.export.hspy import signal_axes
from edxdask.io.export.metadata import RECORD, from_metadata, to_metadata, to_original_metadata
from edxdask.optional import require
from edxdask.results.collections import cubes_in, is_collection
from edxdask.results.kinds import Kind, kind_of

_TO_NM = {"m": 1e9, "mm": 1e6, "µm": 1e3, "μm": 1e3, "um": 1e3, "nm": 1.0, "Å": 0.1, "A": 0.1, "pm": 1e-3}
_TO_KEV = {"keV": 1.0, "eV": 1e-3}


@overload
def to_hyperspy(data: xr.Dataset, *, lazy: bool = True, counts: xr.Dataset | None = None) -> Any: ...
@overload
def to_hyperspy(
    data: xr.DataTree, *, lazy: bool = True, counts: xr.DataTree | None = None
) -> dict[str, Any]: ...
def to_hyperspy(
    data: xr.Dataset | xr.DataTree, *, lazy: bool = True, counts: xr.Dataset | xr.DataTree | None = None
) -> Any:
    """Give HyperSpy's ``EDSTEMSpectrum`` of a cube or a result, with axes, units and metadata.

    A result becomes a signal with a decomposition: ``learning_results`` has the spectra as factors and the
    photons of each phase as loadings, so that ``plot_decomposition_results``, ``get_decomposition_model`` and
    the rest of HyperSpy work on it.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube, result of a factorization or PCA, or collection of either.
    lazy : bool
        Keep the counts as a dask array; False reads all of them into memory.
    counts : Dataset or DataTree, optional
        Of a result the cube it was made of, which the signal then holds; None: the counts that the result
        expects.

    Returns
    -------
    exspy.signals.LazyEDSTEMSpectrum or EDSTEMSpectrum
        The signal; of a collection a dict of signals by name of the map.

    Notes
    -----
    *Chunks*: any; a lazy signal keeps them.

    Examples
    --------
    >>> import edxdask
    >>> signal = to_hyperspy(edxdask.simulate(shape=(4, 5), counts=9))  # doctest: +SKIP
    >>> signal.plot()  # doctest: +SKIP
    """
    if kind_of(data) in (Kind.PHASES, Kind.COMPONENTS):
        found = decompositions_of(data, counts)
        made = {name: _signal(cube, lazy, one) for name, (cube, one) in found.items()}
        return made if is_collection(data) else next(iter(made.values()))
    if counts is not None:
        raise ParameterError("counts", "a cube", "None, as data is no result of a factorization or PCA")
    if is_collection(data):
        return {name: to_hyperspy(cube, lazy=lazy) for name, cube in cubes_in(data).items()}
    return _signal(schema.validate_cube(data), lazy, None)


def _signal(cube: xr.Dataset, lazy: bool, decomposition: Decomposition | None) -> Any:
    signals = require("exspy", extra="hyperspy", purpose="to_hyperspy").signals
    counts = cube[schema.COUNTS]
    original = to_original_metadata(cube.attrs)
    if decomposition is not None:
        original[RECORD] |= decomposition.record()
    keywords = {
        "axes": signal_axes(cube),
        "metadata": to_metadata(cube.attrs),
        "original_metadata": original,
    }
    if lazy:
        array = counts.chunk().data if counts.chunks is None else counts.data
        signal = signals.LazyEDSTEMSpectrum(array, **keywords)
    else:
        signal = signals.EDSTEMSpectrum(counts.values, **keywords)
    if decomposition is not None:
        vars(signal.learning_results).update(decomposition.learning_results())
    return signal


def from_hyperspy(signal: Any, *, decomposition: bool = False) -> xr.Dataset:
    """Give the cube of a HyperSpy EDS signal, lazy if the signal is, or the result that is in it.

    Metadata are converted to our units.

    Navigation axes become ``(y, x)``, ``(x,)`` for a line, and ``(tilt | frame, y, x)`` for three.

    Parameters
    ----------
    signal : hyperspy signal
        With one signal axis, the energy in keV or eV, and whole numbers.
    decomposition : bool
        Give the decomposition of the signal as a result: factors that are nowhere negative become phases,
        others components.

    Returns
    -------
    Dataset
        The cube, or the result.

    Raises
    ------
    ParameterError
        If the signal has no energy axis in eV or keV, its counts are not whole numbers, or it has no
        decomposition and one was asked for.

    Examples
    --------
    >>> import hyperspy.api as hs  # doctest: +SKIP
    >>> ds = from_hyperspy(hs.load("map.hspy"))  # doctest: +SKIP
    """
    if not hasattr(signal, "axes_manager"):
        raise ParameterError("signal", type(signal).__name__, "a HyperSpy signal", "For arrays: from_array.")
    manager = signal.axes_manager
    if len(manager.signal_axes) != 1:
        raise ParameterError(
            "signal", repr(signal), "one signal axis, the energy", "signal.as_signal1D('Energy') makes it so."
        )
    energy = manager.signal_axes[0]
    if str(energy.units) not in _TO_KEV or not energy.is_uniform:
        raise ParameterError(
            "signal",
            f"{energy.name} in {energy.units}",
            "a uniform energy axis in keV or eV",
            "Set signal.axes_manager[-1].units = 'keV'.",
        )
    pixels = sorted(manager.navigation_axes, key=lambda axis: int(axis.index_in_array))
    factor = _TO_KEV[str(energy.units)]
    offset, scale = float(energy.offset) * factor, float(energy.scale) * factor
    dims = _pixel_dims(pixels)
    coords = {d: _coordinate(axis, d) for axis, d in zip(pixels, dims, strict=True)}
    trees = signal.metadata.as_dictionary(), signal.original_metadata.as_dictionary()
    attrs = from_metadata(*trees, defaults=_defaults())
    if decomposition:
        axis = schema.energy_coordinate(offset, scale, int(energy.size))
        found = result_of(signal.learning_results, {**coords, schema.ENERGY: axis}, trees[1])
        return found.assign_attrs({**attrs, **found.attrs})
    counts = signal.data.transpose([axis.index_in_array for axis in (*pixels, energy)])
    cube = from_array(counts, energy_offset=offset, energy_scale=scale)
    cube = cube.rename(
        {old: new for old, new in zip(schema.pixel_dims(cube), dims, strict=True) if old != new}
    )
    return schema.validate_cube(cube.assign_coords(coords).assign_attrs(attrs), name="signal")


def _pixel_dims(axes: list[Any]) -> tuple[str, ...]:
    if len(axes) <= 2:
        return (schema.Y, schema.X)[2 - len(axes) :]
    first = axes[0]
    tilted = "tilt" in str(first.name).lower() or str(first.units).lower().startswith(("deg", "°"))
    return (schema.TILT if tilted else schema.FRAME, schema.Y, schema.X)


def _coordinate(axis: Any, dim: str) -> xr.Variable:
    """Positions along a navigation axis: nm where it has a unit of length, else pixels."""
    values = np.asarray(axis.axis, dtype=float)
    unit = schema.COORDINATE_UNITS[dim]
    if dim in (schema.Y, schema.X):
        factor = _TO_NM.get(str(axis.units))
        values, unit = (
            (values * factor, unit) if factor else (np.arange(values.size, dtype=float), schema.PIXEL_UNIT)
        )
    return xr.Variable((dim,), values, {"units": unit})


def _defaults() -> dict[str, Any]:
    """Return what exspy writes into metadata where nothing is known, empty if exspy is not there."""
    exspy = sys.modules.get("exspy")
    if exspy is None:
        return {}
    eds = exspy.preferences.EDS
    return {
        "Stage.tilt_alpha": eds.eds_tilt_stage,
        "Detector.EDS.elevation_angle": eds.eds_detector_elevation,
        "Detector.EDS.azimuth_angle": eds.eds_detector_azimuth,
        "Detector.EDS.energy_resolution_MnKa": eds.eds_mn_ka,
    }
