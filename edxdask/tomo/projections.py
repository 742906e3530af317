"""What a volume expects its projections to be: photons of each phase in every pixel, lazy, by rows."""

from __future__ import annotations

import math

import dask
import dask.array as da
import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import SchemaError
from edxdask.results.volumes import check_volume, is_fraction
from edxdask.tomo.geometry import TiltGeometry
from edxdask.tomo.projector import Projector

BAND_ROWS = 16  # of projections in a chunk, as volumes are stored
MARGIN_ROWS = 2  # beyond what moves and turns reach


def projections(result: xr.Dataset, *, series: xr.Dataset | None = None) -> xr.Dataset:
    """Project a volume as its tilt series saw it: moves, turns and exposures of the projections included.

    The answer is a result like those of ``psnmf``, over (tilt, y, x), so that ``reconstruct`` gives the
    counts that the volume expects in every channel, and ``residual`` what the counts have beyond it.

    Parameters
    ----------
    result : Dataset
        Volume, as ``tomography`` gives it.
    series : Dataset, optional
        Its tilt series, whose pixels the projections take; needed where only part of the rows was
        reconstructed. None: as many pixels as the volume has voxels.

    Returns
    -------
    Dataset
        ``abundance(phase, tilt, y, x)``, ``total(tilt, y, x)`` in photons, lazy float32, and ``spectrum``.

    Raises
    ------
    SchemaError
        If the volume does not say how its projections lie, or is not of the series.

    Notes
    -----
    *Chunks*: 16 rows of all projections; a chunk needs the rows of the volume that are seen there.

    Examples
    --------
    >>> import edxdask
    >>> counts = np.random.default_rng(0).poisson(0.2, (5, 8, 8, 40)).astype("u2")
    >>> tilts = edxdask.from_array(counts, energy_offset=0.0, energy_scale=0.1)
    >>> tilts = tilts.assign_coords(tilt=("tilt", [-60.0, -30.0, 0.0, 30.0, 60.0], {"units": "deg"}))
    >>> made = edxdask.tomography(tilts, phases=1, strength=0.1, alignment=False, max_iter=5)
    >>> seen = projections(made)
    >>> seen.total.dims, bool(abs(seen.total.sum() / counts.sum() - 1) < 0.2)
    (('tilt', 'y', 'x'), True)
    """
    volume = check_volume(result)
    geometry = _geometry_of(volume)
    along, across = _axes(volume)
    first, image_rows = _rows(volume, series, along)
    array = volume[schema.VOLUME].transpose(schema.PHASE, schema.Z, along, across).data
    lazy = array if isinstance(array, da.Array) else da.from_array(array, name=False)
    photons = np.ones(lazy.shape[0])
    if is_fraction(volume):
        photons = volume[schema.PHOTONS_PER_VOXEL].values.astype(float)
    bands = [(a, min(a + BAND_ROWS, image_rows)) for a in range(0, image_rows, BAND_ROWS)]
    parts = [_band(lazy, geometry, photons, band, first, image_rows) for band in bands]
    expected = da.concatenate(parts, axis=2)  # (phase, tilt, row, column)
    dims = (schema.PHASE, schema.TILT, along, across)
    return _labelled(volume, series, xr.Variable(dims, expected))


def _geometry_of(volume: xr.Dataset) -> TiltGeometry:
    needed = (schema.TILT_SHIFT_Y, schema.TILT_SHIFT_X, schema.TILT_ROTATION, schema.TILT_EXPOSURE)
    missing = [name for name in (*needed, schema.SPECTRUM) if name not in volume]
    if is_fraction(volume) and schema.PHOTONS_PER_VOXEL not in volume:
        missing.append(schema.PHOTONS_PER_VOXEL)
    if missing or schema.TILT not in volume.coords:
        raise SchemaError(
            f"the volume lacks {', '.join(missing) or schema.TILT}, which its projections need: "
            "edxdask.tomography(tilts) gives them"
        )
    shift_y, shift_x, rotation, exposure = (volume[name].values.astype(float) for name in needed)
    if _axes(volume)[0] == schema.X:
        shift_y, shift_x = shift_x, shift_y
    tilts = volume[schema.TILT].values.astype(float)
    return TiltGeometry.of(tilts, shift_y=shift_y, shift_x=shift_x, rotation_deg=rotation, exposure=exposure)


def _axes(volume: xr.Dataset) -> tuple[str, str]:
    """Dimension along the tilt axis, and the one across it."""
    along_x = volume.attrs.get(schema.TILT_AXIS) == schema.X
    return (schema.X, schema.Y) if along_x else (schema.Y, schema.X)


def _rows(volume: xr.Dataset, series: xr.Dataset | None, along: str) -> tuple[int, int]:
    """First row of the volume among those of the projections, and how many these have."""
    count = volume.sizes[along]
    if series is None:
        return 0, count
    if along not in series.dims or schema.TILT not in series.dims:
        raise SchemaError(f"series has the dimensions {tuple(series.dims)}, expected tilt, y and x")
    rows = series.sizes[along]
    if rows == count:
        return 0, count
    if along in series.coords and along in volume.coords:
        places = np.flatnonzero(np.isclose(series[along].values, float(volume[along].values[0])))
        if places.size and places[0] + count <= rows:
            return int(places[0]), rows
    raise SchemaError(f"the volume has {count} rows along {along}, and they are none of the series' {rows}")


def _band(
    lazy: da.Array,
    geometry: TiltGeometry,
    photons: np.ndarray,
    band: tuple[int, int],
    first: int,
    image_rows: int,
) -> da.Array:
    """Rows of all projections: (phase, tilt, row, column)."""
    phases, _, count, columns = lazy.shape
    turn = float(np.abs(np.sin(np.radians(geometry.rotation_deg))).max()) * (columns / 2 + image_rows / 2)
    reach = math.ceil(float(np.abs(geometry.shift_y).max()) + turn) + MARGIN_ROWS
    low, high = max(first, band[0] - reach), min(first + count, band[1] + reach)
    shape = (phases, len(geometry), band[1] - band[0], columns)
    if low >= high:
        return da.zeros(shape, dtype=np.float32)
    made = dask.delayed(_project)(
        lazy[:, :, low - first : high - first], geometry, photons, (low, high), band, image_rows
    )
    return da.from_delayed(made, shape, dtype=np.float32, meta=np.empty((0,) * 4, np.float32))


def _project(
    slab: np.ndarray,
    geometry: TiltGeometry,
    photons: np.ndarray,
    rows: tuple[int, int],
    band: tuple[int, int],
    image_rows: int,
) -> np.ndarray:
    projector = Projector(
        geometry,
        shape=(slab.shape[1], slab.shape[3]),
        columns=slab.shape[3],
        volume_rows=image_rows,
        rows=rows,
        detector_rows=band,
    )
    full = slab.astype(np.float32) * photons.astype(np.float32)[:, None, None, None]
    images = projector.forward(np.ascontiguousarray(full.transpose(1, 3, 0, 2)))
    images *= geometry.exposure.astype(np.float32)[:, None, None, None]
    return np.ascontiguousarray(images.transpose(2, 0, 3, 1))  # from (tilt, column, phase, row)


def _labelled(volume: xr.Dataset, series: xr.Dataset | None, expected: xr.Variable) -> xr.Dataset:
    pixels = (schema.TILT, schema.Y, schema.X)
    expected = expected.transpose(schema.PHASE, *pixels)
    total = expected.sum(schema.PHASE)
    fractions = expected.copy(
        data=da.where(total.data > 0, expected.data / da.maximum(total.data, 1e-30), 0.0)
    )
    source = volume if series is None else series
    coords = {dim: source.coords[dim].variable for dim in (schema.Y, schema.X) if dim in source.coords}
    names = (schema.TILT, schema.PHASE, schema.ENERGY)
    coords |= {name: volume.coords[name].variable for name in names if name in volume.coords}
    kept = {k: v for k, v in volume.attrs.items() if k in (schema.TITLE, schema.BEAM_ENERGY, schema.ELEMENTS)}
    return xr.Dataset(
        {
            schema.SPECTRUM: volume[schema.SPECTRUM].variable,
            schema.ABUNDANCE: (expected.dims, fractions.data, schema.variable_attrs(schema.ABUNDANCE)),
            schema.TOTAL: (pixels, total.data, schema.variable_attrs(schema.TOTAL)),
        },
        coords,
        schema.with_history({**kept, schema.HISTORY: volume.attrs.get(schema.HISTORY, [])}, "projections()"),
    )
