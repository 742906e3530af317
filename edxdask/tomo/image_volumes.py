"""The public function ``image_volume``: volumes of HAADF images or maps of lines, the classical way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.results.volumes import PHOTONS, depth_coordinate, make_volume
from edxdask.tomo.classical import fbp, sirt
from edxdask.tomo.geometry import TiltGeometry

Method = Literal["sirt", "fbp"]
FEWEST_TILTS = 3
STEP_TOLERANCE = 1e-3  # relative, between the steps of y and x
IMAGE = (schema.TILT, schema.Y, schema.X)


def image_volume(
    data: xr.DataArray,
    *,
    method: Method = "sirt",
    alignment: xr.Dataset | None = None,
    tilts_deg: Sequence[float] | None = None,
    tilt_axis: Literal["y", "x"] | None = None,
    depth: float | None = None,
    window: str = "hann",
    cutoff: float = 1.0,
    iterations: int = 50,
    threads: int = 1,
) -> xr.Dataset:
    """Reconstruct the volumes of images of a tilt series: HAADF, or maps of lines.

    These are the classical ways, which know nothing of counting: for images with little noise, and to compare
    with ``tomography``, which fits all photons together.

    Parameters
    ----------
    data : DataArray
        One image per tilt, (tilt, y, x), such as ``series.haadf``, or several of each, (line, tilt, y, x),
        such as ``series.edx.line_map(["Se_La", "Zn_Ka"])``.
    method : {"sirt", "fbp"}
        "sirt" (simultaneous iterative technique) copes better with few tilts; "fbp" (filtered back
        projection) is made in one pass.
    alignment : Dataset, optional
        What has ``tilt_shift_y``, ``tilt_shift_x``, ``tilt_rotation`` and ``tilt_exposure``: an alignment, or
        a volume of ``tomography``. None takes images as aligned, on an axis in their middle, equally bright.
    tilts_deg : list of float, optional
        Tilt of each image; None takes the coordinate ``tilt``.
    tilt_axis : {"y", "x"}, optional
        Dimension of the images that the tilt axis lies along; None takes what the images say, or else y.
    depth : float, optional
        Thickness of the volume along the beam at tilt 0, nm (pixels without calibration); None: as thick as
        it is wide.
    window : str
        Of the filter of "fbp", from what leaves most noise to what leaves least: "ramp", "shepp-logan",
        "cosine", "hamming", "hann".
    cutoff : float
        Frequency at which the window ends, as a fraction of the highest; less for noisy images.
    iterations : int
        Of "sirt": more sharpen the volume and its noise.
    threads : int
        Threads that work side by side.

    Returns
    -------
    Dataset
        ``volume(phase, z, y, x)``: what a ray of a pixel's width collects in a voxel, in the unit of the
        images, one phase for each image of a tilt. What is below zero is set to zero.

    Raises
    ------
    ParameterError, SchemaError
        If the images are no tilt series, or a parameter cannot be.

    Examples
    --------
    >>> disc = 2 * np.sqrt(np.clip(8.5**2 - np.arange(-16, 17.0) ** 2, 0, None))
    >>> tilts = np.arange(-70, 71, 5.0)
    >>> images = xr.DataArray(
    ...     np.broadcast_to(disc, (29, 4, 33)), {"tilt": tilts}, ("tilt", "y", "x"), name="haadf"
    ... )
    >>> made = image_volume(images, iterations=30)
    >>> dict(made.volume.sizes), round(float(made.volume.sel(phase="haadf")[12:21, :, 12:21].mean()), 1)
    ({'phase': 1, 'z': 33, 'y': 4, 'x': 33}, 1.0)
    """
    if method not in get_args(Method):
        raise ParameterError("method", method, " or ".join(map(repr, get_args(Method))))
    series = _series(data, tilts_deg)
    along = series.attrs.get(schema.TILT_AXIS, schema.Y) if tilt_axis is None else tilt_axis
    if along not in (schema.Y, schema.X):
        raise ParameterError("tilt_axis", along, "'y' or 'x'")
    across = schema.X if along == schema.Y else schema.Y
    geometry = _geometry(series[schema.TILT].values, alignment, along)
    step = _step(series)
    count = series.sizes[across] if depth is None else _voxels(depth, step)
    made = []
    for image in series.transpose(schema.LINE, schema.TILT, along, across).values.astype(np.float32):
        if method == "fbp":
            volume = fbp(image, geometry, count, window=window, cutoff=cutoff, threads=threads)
        else:
            volume = sirt(image, geometry, count, iterations=iterations, threads=threads)
        made.append(np.maximum(volume if along == schema.Y else volume.swapaxes(1, 2), 0))
    own = {"iterations": iterations} if method == "sirt" else {"window": window, "cutoff": cutoff}
    given = {"tilt_axis": tilt_axis, "depth": depth} | own
    usual = {"window": "hann", "cutoff": 1.0}
    said = [f"{name}={value!r}" for name, value in given.items() if value != usual.get(name)]
    said += [] if alignment is None else ["alignment=…"]
    entry = f"image_volume({', '.join([f'method={method!r}', *said])})"
    return _labelled(np.stack(made), series, geometry, along, step, entry)


def _series(images: xr.DataArray, tilts_deg: Sequence[float] | None) -> xr.DataArray:
    """Images (line, tilt, y, x) with tilts in degrees."""
    if not isinstance(images, xr.DataArray):
        expected = "images (tilt, y, x), such as series.haadf or series.edx.line_map('Zn_Ka')"
        raise ParameterError("data", type(images).__name__, expected)
    dims = set(map(str, images.dims))
    if not set(IMAGE) <= dims or not dims <= {*IMAGE, schema.LINE}:
        raise SchemaError(f"images have the dimensions {images.dims}, expected {IMAGE}, perhaps with 'line'")
    if schema.LINE not in dims:
        label = images.coords[schema.LINE].item() if schema.LINE in images.coords else images.name or "image"
        images = images.drop_vars(schema.LINE, errors="ignore").expand_dims({schema.LINE: [str(label)]})
    if tilts_deg is None and schema.TILT not in images.coords:
        fix = "image_volume(images, tilts_deg=[-60, -55, …])"
        raise SchemaError(f"images have no coordinate 'tilt' in degrees: {fix}")
    given = images[schema.TILT].values if tilts_deg is None else tilts_deg
    angles = np.asarray(given, dtype=np.float64)
    if angles.shape != (images.sizes[schema.TILT],) or not np.isfinite(angles).all():
        expected = f"one angle in degrees for each of {images.sizes[schema.TILT]} images"
        raise ParameterError("tilts_deg", list(angles.flat), expected)
    if np.unique(angles).size < FEWEST_TILTS:
        expected = f"at least {FEWEST_TILTS} angles: a volume cannot be had from fewer"
        raise ParameterError("tilts_deg", angles.tolist(), expected)
    if images.size == 0 or not np.isfinite(images.values).all():
        raise SchemaError("images are empty or hold values that are not finite: images.fillna(0)")
    return images.assign_coords({schema.TILT: (schema.TILT, angles, {"units": "deg"})})


def _geometry(tilts: np.ndarray, alignment: xr.Dataset | None, along: str) -> TiltGeometry:
    if alignment is None:
        return TiltGeometry.of(tilts)
    names = (schema.TILT_SHIFT_Y, schema.TILT_SHIFT_X, schema.TILT_ROTATION, schema.TILT_EXPOSURE)
    known = [name for name in names if name in alignment]
    if not known or schema.TILT not in alignment.coords:
        expected = f"a Dataset with a coordinate tilt and {', '.join(names)}, or some of these"
        raise ParameterError("alignment", sorted(map(str, alignment.variables)), expected)
    own = alignment[schema.TILT].values
    if own.shape != tilts.shape or not np.allclose(own, tilts, atol=1e-3):
        expected = f"the tilts of the images, {tilts.tolist()}"
        raise ParameterError("alignment.tilt", own.tolist(), expected)
    values = {name: alignment[name].values for name in known}
    down, right = (values.get(name, 0.0) for name in (schema.TILT_SHIFT_Y, schema.TILT_SHIFT_X))
    if along == schema.X:
        down, right = right, down
    return TiltGeometry.of(
        tilts,
        shift_y=down,
        shift_x=right,
        rotation_deg=values.get(schema.TILT_ROTATION, 0.0),
        exposure=values.get(schema.TILT_EXPOSURE, 1.0),
    )


def _step(images: xr.DataArray) -> float | None:
    """Side of a pixel in nm; None without calibration."""
    steps = []
    for dim in (schema.Y, schema.X):
        if dim not in images.coords or images[dim].attrs.get("units") != schema.COORDINATE_UNITS[dim]:
            return None
        if images.sizes[dim] > 1:
            steps.append(float(np.diff(images[dim].values).mean()))
    if not steps:
        return None
    if max(steps) > min(steps) * (1 + STEP_TOLERANCE):
        raise SchemaError(
            f"pixels are {steps[0]:g} nm along y and {steps[1]:g} nm along x: voxels are cubes, so both must "
            "be equal. Correct the pixel size, or bin along one of them"
        )
    return steps[0]


def _voxels(depth: float, step: float | None) -> int:
    if not depth > 0:
        raise ParameterError("depth", depth, "a thickness above zero, in nm (pixels without calibration)")
    return max(round(depth / (step or 1.0)), 1)


def _labelled(
    volume: np.ndarray,
    series: xr.DataArray,
    geometry: TiltGeometry,
    along: str,
    step: float | None,
    entry: str,
) -> xr.Dataset:
    moves = (geometry.shift_y, geometry.shift_x)
    down, right = moves if along == schema.Y else moves[::-1]
    coords: dict[str, Any] = {
        schema.Z: depth_coordinate(volume.shape[1], step),
        schema.TILT: geometry.tilt_deg,
    }
    for dim in (schema.Y, schema.X):
        pixels = xr.Variable(dim, np.arange(series.sizes[dim]), {"units": schema.PIXEL_UNIT})
        coords[dim] = series.coords.get(dim, pixels)
    made = make_volume(
        volume,
        phases=[str(label) for label in series[schema.LINE].values],
        coords=coords,
        variables={
            schema.TILT_SHIFT_Y: down,
            schema.TILT_SHIFT_X: right,
            schema.TILT_ROTATION: geometry.rotation_deg,
            schema.TILT_EXPOSURE: geometry.exposure,
        },
        kind=PHOTONS,
        attrs={
            **{k: v for k, v in series.attrs.items() if k in schema.ATTRIBUTES},
            schema.TILT_AXIS: along,
            schema.VOLUME_PRIOR: "none",
        },
        entry=entry,
    )
    own = {"long_name": "what a ray collects in a voxel", "units": series.attrs.get("units", "counts")}
    made[schema.VOLUME].attrs.update(own)
    return made
