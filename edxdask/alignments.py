"""The public function `align_tilts`: where the projections of a tilt series lie."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.mosaic.images import is_scan, on_map
from edxdask.ops import line_map, total_map
from edxdask.physics.lines import parse_line
from edxdask.results.collections import Data, cubes_in, is_collection
from edxdask.results.tilts import ordered_series, series_of_maps
from edxdask.tomo.alignment import AlignedTilts, align_images

logger = logging.getLogger(__name__)

__all__ = ["align_tilts", "tilt_images"]

SCANNED, TOTAL = "haadf", "total"


def align_tilts(
    data: Data,
    *,
    image: str | None = None,
    tilts_deg: list[float] | None = None,
    tilt_axis: str | None = None,
    rotation_deg: float | None = None,
    cut: bool | None = None,
    threads: int = 1,
) -> xr.Dataset:
    """Find how the projections of a tilt series moved, for ``tomography(alignment=...)``; photons stay.

    Along the tilt axis, profiles of all tilts are the same; across it, the object's centre of mass lies on
    the axis. Then every projection is moved onto a volume of others. Where the field cuts the object across
    the axis, neighbouring tilts are correlated instead.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube over (tilt, y, x, energy), or a collection of maps of one tilt each.
    image : str, optional
        What tilts are aligned on: an image over ``tilt``, ``y`` and ``x``, "total" (photons per pixel), or a
        line ("Fe_Ka"). None: ``haadf`` if the series has it, else "total".
    tilts_deg : list of float, optional
        Tilt of each projection, where the data do not say it.
    tilt_axis : {"y", "x"}, optional
        Dimension that the tilt axis is near. None: what the series says, else "y".
    rotation_deg : float, optional
        Angle of the tilt axis to that dimension. None: found up to 8° to both sides, except in a field that
        cuts the object across the axis.
    cut : bool, optional
        Whether the field cuts the object across the axis. None: found from the images.
    threads : int
        Threads of the projector.

    Returns
    -------
    Dataset
        Of each tilt: ``tilt_shift_y`` and ``tilt_shift_x`` (rows and columns by which a projection is moved,
        px) and ``tilt_rotation`` (degrees), each with its standard error (``_std``), ``tilt_misfit`` (squares
        that other tilts do not explain, over those of the median tilt) and ``tilt_brightness``.
        ``edxdask.figures.alignment`` draws it. Moves of all projections that only move the volume are free.

    Raises
    ------
    ParameterError
        If there are fewer than three tilts, a tilt without an image of the object, or no such image.

    Notes
    -----
    *Chunks.* Any. **This operation computes**: images of all tilts, on photons one read of the counts.
    Memory: some 15 times the images, which are binned to 256 columns for volumes.

    Examples
    --------
    >>> import edxdask
    >>> series = edxdask.simulate("core-shell", shape=(24, 24, 24), tilts=[-40, -20, 0, 20, 40], counts=30)
    >>> found = align_tilts(series, rotation_deg=0.0)
    >>> found.tilt_shift_x.dims, bool((abs(found.tilt_shift_x) < 0.5).all())
    (('tilt',), True)
    """
    series = _series(data, tilts_deg)
    axis = tilt_axis or str(data.attrs.get(schema.TILT_AXIS, schema.Y))
    if axis not in (schema.Y, schema.X):
        raise ParameterError("tilt_axis", axis, "'y' or 'x', the dimension that the tilt axis is near")
    name, images = _images(series, image)
    if axis == schema.X:
        images = images.transpose(0, 2, 1)
    tilts = np.asarray(series[schema.TILT].values, dtype=np.float64)
    found = align_images(images, tilts, rotation_deg=rotation_deg, cut=cut, threads=threads)
    for note in found.notes:
        logger.warning("align_tilts: %s", note)
    return _labelled(found, tilts, axis, name)


def tilt_images(data: Data, names: Sequence[str], *, tilts_deg: list[float] | None = None) -> xr.DataArray:
    """Give images of a tilt series, as ``image_volume`` takes them.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube over (tilt, y, x, energy), or a collection of maps of one tilt each.
    names : list of str
        One image over ``tilt``, ``y`` and ``x``; or "total" (photons per pixel); or lines, such as "Fe_Ka",
        net of the background beside them, which are read in one pass.
    tilts_deg : list of float, optional
        Tilt of each projection, where the data do not say it.

    Examples
    --------
    >>> import edxdask
    >>> series = edxdask.simulate("core-shell", shape=(8, 8, 8), tilts=[-40, 0, 40], counts=30)
    >>> tilt_images(series, ["total"]).dims, tilt_images(series, ["Zn_Ka", "Se_Ka"]).sizes["line"]
    (('tilt', 'y', 'x'), 2)
    """
    series = _series(data, tilts_deg)
    if len(names) > 1 or _is_line(names[0]):
        images = line_map(series, list(names))
    else:
        name, values = _images(series, names[0])
        coords = {dim: series[dim] for dim in (schema.Y, schema.X) if dim in series.coords}
        units = series[name].attrs.get("units", "counts") if name in series else "counts"
        dims = (schema.TILT, schema.Y, schema.X)
        images = xr.DataArray(values, coords, dims, name=name, attrs=series.attrs | {"units": units})
    return images.assign_coords({schema.TILT: series[schema.TILT]})


def _series(data: Data, tilts_deg: list[float] | None) -> xr.Dataset:
    """Series as one cube, tilts rising."""
    if is_collection(data):
        return series_of_maps(cubes_in(data), tilts_deg=tilts_deg)
    return ordered_series(schema.validate_cube(data), tilts_deg=tilts_deg)


def scanned_images(series: xr.Dataset) -> dict[str, xr.DataArray]:
    """Images of every tilt that ride along with the counts, by name."""
    return {
        str(name): array
        for name, array in series.data_vars.items()
        if schema.TILT in array.dims and name != schema.COUNTS and array.ndim == 3 and is_scan(array, series)
    }


def _images(series: xr.Dataset, wanted: str | None) -> tuple[str, np.ndarray]:
    """Give the images (tilt, y, x) that tilts are aligned on, and their name."""
    own = scanned_images(series)
    name = wanted or (SCANNED if SCANNED in own else TOTAL)
    if name in own:
        return name, on_map(own[name].transpose(schema.TILT, ...), series)
    if name == TOTAL:
        array = total_map(series)
    elif _is_line(name):
        array = line_map(series, name, background=False)
    else:
        expected = f"an image of every tilt ({', '.join(own) or 'the series has none'}), 'total' or a line"
        raise ParameterError("image", wanted, expected, 'image="total"')
    values = np.asarray(array.transpose(schema.TILT, schema.Y, schema.X).values, dtype=np.float32)
    return name, values


def _is_line(name: str) -> bool:
    try:
        parse_line(name)
    except ParameterError:
        return False
    return True


def _labelled(found: AlignedTilts, tilts: np.ndarray, axis: str, name: str) -> xr.Dataset:
    """Name what was found in the frame of the file: its rows and columns."""
    geometry = found.geometry
    moves = [(geometry.shift_y, found.shift_y_std), (geometry.shift_x, found.shift_x_std)]
    cuts = [found.cut_y, found.cut_x]
    if axis == schema.X:
        moves, cuts = moves[::-1], cuts[::-1]
    values = {
        schema.TILT_SHIFT_Y: moves[0][0],
        schema.TILT_SHIFT_Y + schema.STD_SUFFIX: moves[0][1],
        schema.TILT_SHIFT_X: moves[1][0],
        schema.TILT_SHIFT_X + schema.STD_SUFFIX: moves[1][1],
        schema.TILT_ROTATION: geometry.rotation_deg,
        schema.TILT_ROTATION + schema.STD_SUFFIX: np.full(len(tilts), found.rotation_std),
        schema.TILT_MISFIT: found.misfit,
        schema.TILT_BRIGHTNESS: found.brightness,
    }
    made = xr.Dataset(
        {key: (schema.TILT, value) for key, value in values.items()},
        {schema.TILT: (schema.TILT, tilts, {"units": "deg"})},
        {
            schema.TILT_AXIS: axis,
            schema.ALIGNED_ON: name,
            schema.ALIGNED_BY: found.method,
            schema.FIELD_CUTS: [dim for dim, cut in zip((schema.Y, schema.X), cuts, strict=True) if cut],
        },
    )
    for key in made.data_vars:
        made[key].attrs["units"] = "deg" if str(key).startswith(schema.TILT_ROTATION) else "px"
    for key in (schema.TILT_MISFIT, schema.TILT_BRIGHTNESS):
        made[key].attrs["units"] = "1"
    return made
