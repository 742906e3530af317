"""HyperSpy signals to cubes and back, in memory or lazy; needs ``edxdask[hyperspy]``."""

from __future__ import annotations

import sys
from typing import Any, overload

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.io.arrays import from_array
from edxdask.io.export.hspy import signal_axes
from edxdask.io.export.metadata import from_metadata, to_metadata, to_original_metadata
from edxdask.optional import require
from edxdask.results.collections import cubes_in, is_collection

_TO_NM = {"m": 1e9, "mm": 1e6, "µm": 1e3, "μm": 1e3, "um": 1e3, "nm": 1.0, "Å": 0.1, "A": 0.1, "pm": 1e-3}
_TO_KEV = {"keV": 1.0, "eV": 1e-3}


@overload
def to_hyperspy(data: xr.Dataset, *, lazy: bool = True) -> Any: ...
@overload
def to_hyperspy(data: xr.DataTree, *, lazy: bool = True) -> dict[str, Any]: ...
def to_hyperspy(data: xr.Dataset | xr.DataTree, *, lazy: bool = True) -> Any:
    """Give HyperSpy's ``EDSTEMSpectrum`` of a cube, with axes, units and metadata.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube, or collection of cubes.
    lazy : bool
        Keep the counts as a dask array; False reads all of them into memory.

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
    if is_collection(data):
        return {name: to_hyperspy(cube, lazy=lazy) for name, cube in cubes_in(data).items()}
    cube = schema.validate_cube(data)
    signals = require("exspy", extra="hyperspy", purpose="to_hyperspy").signals
    counts = cube[schema.COUNTS]
    keywords = {
        "axes": signal_axes(cube),
        "metadata": to_metadata(cube.attrs),
        "original_metadata": to_original_metadata(cube.attrs),
    }
    if not lazy:
        return signals.EDSTEMSpectrum(counts.values, **keywords)
    return signals.LazyEDSTEMSpectrum(
        counts.chunk().data if counts.chunks is None else counts.data, **keywords
    )


def from_hyperspy(signal: Any) -> xr.Dataset:
    """Give the cube of a HyperSpy EDS signal, lazy if the signal is; metadata are converted to our units.

    Navigation axes become ``(y, x)``, ``(x,)`` for a line, and ``(tilt | frame, y, x)`` for three.

    Parameters
    ----------
    signal : hyperspy signal
        With one signal axis, the energy in keV or eV, and whole numbers.

    Returns
    -------
    Dataset
        The cube.

    Raises
    ------
    ParameterError
        If the signal has no energy axis in eV or keV, or its counts are not whole numbers.

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
    cube = from_array(
        signal.data.transpose([axis.index_in_array for axis in (*pixels, energy)]),
        energy_offset=float(energy.offset) * factor,
        energy_scale=float(energy.scale) * factor,
    )
    dims = _pixel_dims(pixels)
    cube = cube.rename(
        {old: new for old, new in zip(schema.pixel_dims(cube), dims, strict=True) if old != new}
    )
    cube = cube.assign_coords({d: _coordinate(axis, d) for axis, d in zip(pixels, dims, strict=True)})
    trees = signal.metadata.as_dictionary(), signal.original_metadata.as_dictionary()
    return schema.validate_cube(cube.assign_attrs(from_metadata(*trees, defaults=_defaults())), name="signal")


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
