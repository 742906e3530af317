"""Which figures a volume has, by name."""

from __future__ import annotations

import xarray as xr
from matplotlib.figure import Figure

from edxdask import schema
from edxdask.report.particle_sizes import sizes_figure
from edxdask.report.rendered import rendered_figure
from edxdask.report.spectra import spectra_figure
from edxdask.report.tilts import tilts_figure
from edxdask.report.volume_overview import overview_of
from edxdask.report.volumes import slices_figure
from edxdask.results.volumes import check_volume

FIGURES = SLICES, RENDERED, SIZES, TILTS, SPECTRA = ("slices", "rendered", "sizes", "tilts", "spectra")


def figures_of_volume(volume: xr.Dataset) -> tuple[str, ...]:
    """Name the figures that a volume has.

    Examples
    --------
    >>> import numpy as np
    >>> from edxdask.results.volumes import make_volume
    >>> figures_of_volume(make_volume(np.ones((1, 2, 2, 2)), phases=["a"], coords={}, entry="made"))
    ('slices', 'rendered', 'sizes')
    """
    tilts = (TILTS,) if schema.TILT_PHOTONS in volume or schema.TILT_CHI2 in volume else ()
    return (SLICES, RENDERED, SIZES, *tilts, *((SPECTRA,) if schema.SPECTRUM in volume else ()))


def rendered(volume: xr.Dataset, *, title: str | None = None) -> Figure:
    """Draw surfaces of all phases, large ones like glass; reads the volume once.

    Parameters
    ----------
    volume : Dataset
        What ``tomography`` gave.
    title : str, optional
        Text above.
    """
    return rendered_figure(overview_of(volume), title=title)


def volume_figure(volume: xr.Dataset, figure: str | None = None, *, title: str | None = None) -> Figure:
    """Draw one of the figures of a volume; None: its planes."""
    check_volume(volume)
    if figure == RENDERED:
        return rendered(volume, title=title)
    if figure == SIZES:
        return sizes_figure(volume, title=title)
    if figure == TILTS:
        return tilts_figure(volume, title=title)
    if figure == SPECTRA:
        return spectra_figure(volume[schema.SPECTRUM].compute(), title=title)
    return slices_figure(volume, title=title)
