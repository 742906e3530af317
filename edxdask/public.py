"""Public functions that join several stages; everything else is public where it stands.

``edxdask.__init__`` hands these out on first use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.progress import Progress, ProgressHook

__all__ = ["export", "open", "simulate"]

PICTURES = ("png", "pdf", "svg")


def open(path: str | Path) -> xr.Dataset | xr.DataTree:
    """Open a store: a cube or result as a Dataset, a collection as a DataTree. Reads no counts.

    Raises
    ------
    ForeignStoreError, IncompleteStoreError, NewerSchemaError, CorruptStoreError
        Each says what the path is and what to do about it.

    Notes
    -----
    *Chunks*: those of the store, 64 × 64 pixels with all channels.
    """
    from edxdask.io import open_store

    return open_store(path)


def simulate(
    recipe: str = "mantle",
    *,
    shape: tuple[int, int] = (180, 180),
    counts: float = 147.0,
    seed: int = 0,
    out: str | Path | None = None,
    channels: int | None = None,
    energy_offset: float | None = None,
    energy_scale: float = 0.01,
    beam_energy: float = 200.0,
    fwhm_mn_ka_ev: float = 130.0,
    elevation_deg: float | Sequence[float] = 22.0,
    pixel_size: float | None = None,
    grain: float | None = None,
    chunks: int | tuple[int, int] = 64,
    overwrite: bool = False,
    resume: bool = False,
    progress: ProgressHook | None = None,
) -> xr.Dataset:
    """Simulate a spectrum image with known truth; with ``out``, write it to a store and open that.

    Parameters
    ----------
    recipe : "mantle" (three phases, two of them never pure) or "nanoparticles" (four phases, total varies)
    shape : rows and columns
    counts : expected photons per pixel, mean over the map
    seed : 0 or more; another seed is another map and other photons
    out : store to write; a store is written chunk by chunk and may be larger than memory
    channels, energy_offset, energy_scale : energy axis, keV; None: the recipe's own
    beam_energy : keV, 60 to 300
    fwhm_mn_ka_ev : width of the detector at Mn Kα, eV
    elevation_deg : of the detector, or of each of an array
    pixel_size : nm; None: the recipe's own
    grain : typical diameter of a grain in pixels
    chunks : pixels along y and x of a chunk
    overwrite, resume, progress : of the writing, as in ``save``

    Returns
    -------
    Dataset
        ``counts``, lazy, with ``truth_abundance``, ``truth_total``, ``truth_spectrum`` and
        ``truth_composition``.

    Examples
    --------
    >>> simulate(shape=(8, 8), counts=10).counts.shape
    (8, 8, 970)
    """
    from edxdask.io import save
    from edxdask.simulate import simulate as draw

    ds = draw(
        recipe,
        shape=shape,
        counts=counts,
        seed=seed,
        channels=channels,
        energy_offset=energy_offset,
        energy_scale=energy_scale,
        beam_energy=beam_energy,
        fwhm_mn_ka_ev=fwhm_mn_ka_ev,
        elevation_deg=elevation_deg,
        pixel_size=pixel_size,
        grain=grain,
        chunks=chunks,
    )
    if out is None:
        if overwrite or resume or progress is not None:
            raise ParameterError("out", None, "a store to write when overwrite, resume or progress is given")
        return ds
    hook = None if progress is None else _renamed(progress, f"simulate {Path(out).name}")
    written = save(ds, out, overwrite=overwrite, resume=resume, progress=hook)
    if not isinstance(written, xr.Dataset):
        raise TypeError("a saved Dataset must open as a Dataset")
    return written


def _renamed(progress: ProgressHook, label: str) -> ProgressHook:
    """Drawing happens while the store is written, so the writing's progress is that of the simulation."""

    def hook(event: Progress) -> None:
        progress(replace(event, label=label))

    return hook


def export(
    obj: xr.Dataset | xr.DataArray,
    path: str | Path,
    *,
    format: str | None = None,
    overwrite: bool = False,
    progress: ProgressHook | None = None,
) -> Path:
    """Write a cube, a spectrum or a map in the format its suffix names, whole or not at all.

    Cubes go to ``.hspy`` (default) and ``.rpl``; spectra to ``.msa`` and ``.csv``; maps to ``.tiff`` and
    ``.csv``; spectra, maps and stacks of maps to ``.png``, ``.pdf`` and ``.svg`` with labelled lines or a
    scale bar. Asked for a spectrum's format, a cube gives its sum spectrum.

    Parameters
    ----------
    obj : cube, spectrum ``(energy)``, map ``(y, x)`` or stack of maps ``(any, y, x)``
    path : target
    format : suffix to go by where ``path`` has another
    overwrite : replace an existing file
    progress : called after every block of a cube

    Returns
    -------
    pathlib.Path
        The file written.

    Notes
    -----
    *Chunks*: a cube is read chunk by chunk, each once, one in memory at a time.
    """
    from edxdask.io.export import export as write
    from edxdask.io.export import format_of

    target = Path(path)
    suffix = (format or target.suffix).lower().removeprefix(".")
    attrs = obj.attrs
    if isinstance(obj, xr.Dataset) and suffix in ("msa", "emsa", "csv", *PICTURES):
        from edxdask.ops import sum_spectrum

        obj = sum_spectrum(obj)
    if suffix not in PICTURES:
        try:
            format_of(target, format)
        except ParameterError as error:
            pictures = ", ".join(f".{name}" for name in PICTURES)
            known = f"{error.expected}, or {pictures} for a picture"
            raise ParameterError(error.parameter, error.value, known) from None
    else:
        return _picture(obj, target, attrs, overwrite=overwrite)
    return write(obj, target, format=format, attrs=attrs, overwrite=overwrite, progress=progress)


def _picture(array: Any, path: Path, attrs: Any, *, overwrite: bool) -> Path:
    from edxdask.report.figures import map_figure, maps_figure, sum_spectrum_figure
    from edxdask.report.labels import pretty_line
    from edxdask.report.lines import label_lines
    from edxdask.report.spectra import spectra_figure
    from edxdask.report.style import save_figure

    if schema.ENERGY in array.dims and array.ndim == 2:
        figure = spectra_figure(array, title=attrs.get(schema.TITLE))
    elif schema.ENERGY in array.dims:
        energy = array.coords[schema.ENERGY].values
        lines = label_lines(attrs.get(schema.ELEMENTS, ()), float(energy[0]), float(energy[-1]))
        figure = sum_spectrum_figure(array, lines=lines, title=attrs.get(schema.TITLE))
    elif array.ndim == 3:
        figure = maps_figure(array)
    else:
        figure = map_figure(array, title=pretty_line(str(array.name)) if array.name else None)
    return save_figure(figure, path, overwrite=overwrite)
