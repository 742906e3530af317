"""What the object absorbs of its own lines: judged on a coarse copy of the finished volume."""

from __future__ import annotations

from typing import Any

import dask
import dask.array as da
import numpy as np

from edxdask import schema
from edxdask.physics.geometry import Detector
from edxdask.tomo.absorption import Object, absorption_warnings
from edxdask.tomographies.options import Options
from edxdask.tomographies.prepared import Prepared
from edxdask.tomographies.series import Series

MOST_SIDE = 32  # voxels of the copy along each side
THREADS = 2  # chunks of the volume in memory at once


def absorption_of(array: da.Array, series: Series, prepared: Prepared, options: Options) -> list[str]:
    """Name lines that the object absorbs; nothing where densities or sizes are not known.

    Parameters
    ----------
    array : dask array
        Volume (phase, z, y, x), fractions.
    series : Series
        Conditions, energies, size of a pixel.
    prepared : Prepared
        Phases and their compositions.
    options : Options
        ``densities``.
    """
    if not (prepared.fractions and options.densities and series.step):
        return []
    if series.along == schema.X:
        array = array.swapaxes(2, 3)
    factor = max(1, -(-max(array.shape[1:]) // MOST_SIDE))
    axes = dict.fromkeys((1, 2, 3), factor)
    with dask.config.set(scheduler="threads", num_workers=THREADS):
        coarse = np.asarray(da.coarsen(np.mean, array.astype(np.float32), axes, trim_excess=True).compute())
    if not coarse.size:
        return []
    atoms = prepared.variables[schema.COMPOSITION]
    thing = Object(
        coarse,
        series.step * factor,
        [dict(zip(prepared.elements, map(float, row), strict=True)) for row in atoms],
        [float(options.densities[label]) for label in prepared.labels],
    )
    energy = series.cube.coords[schema.ENERGY].values
    attrs: dict[Any, Any] = {**series.cube.attrs, **prepared.attrs}
    return absorption_warnings(
        thing,
        prepared.labels,
        range_kev=(float(energy[0]), float(energy[-1])),
        tilt_deg=prepared.geometry.tilt_deg,
        detector=Detector.of(attrs),
    )
