"""Public functions that join several stages; everything else is public in its own module.

``edxdask.__init__`` loads them on first use.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.progress import Progress, ProgressHook, ProgressOption, shown
from edxdask.results.collections import cubes_in, is_collection

__all__ = ["collect", "collect_tilts", "open", "simulate"]


def open(path: str | Path) -> xr.Dataset | xr.DataTree:
    """Open a store: a cube or result as a Dataset, a collection as a DataTree. Reads no counts.

    Parameters
    ----------
    path : str or Path
        Folder of the store. ``"collection.zarr/name"`` is one map of a collection, with what its maps share.

    Returns
    -------
    Dataset or DataTree
        What was saved, lazy.

    Raises
    ------
    ForeignStoreError, IncompleteStoreError, NewerSchemaError, CorruptStoreError
        Each says what the path is and what to do about it.

    Notes
    -----
    *Chunks*: those of the store, 64 × 64 pixels with all channels.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = simulate(shape=(4, 5), counts=9, out=folder + "/map.zarr")
    ...     dict(open(folder + "/map.zarr").sizes)["x"]
    5
    """
    from edxdask.io import open_store

    return open_store(path)


def collect(data: Mapping[str, xr.Dataset | str | Path]) -> xr.DataTree:
    """Make a collection of maps from cubes and stores, by name.

    Every operation, factorization and export takes the collection as it takes one cube; ``save`` writes it to
    one store.

    Parameters
    ----------
    data : mapping of str to Dataset, str or Path
        Cubes, or paths of stores of one map each, by the name that each map will have.

    Returns
    -------
    DataTree
        One node for each map, in the order given; counts stay where they are and lazy.

    Raises
    ------
    ParameterError
        If a name is empty or holds a slash, or a path is a vendor file or a collection itself.
    SchemaError
        If something is no valid cube.

    Examples
    --------
    >>> tree = collect({"left": simulate(shape=(4, 4), seed=1), "right": simulate(shape=(4, 6), seed=2)})
    >>> list(tree.children), tree.edx.bin(2)["right"].counts.shape
    (['left', 'right'], (2, 3, 970))
    """
    if not isinstance(data, Mapping) or not data:
        raise ParameterError("data", data, "one map or more by name", "collect({'a': ds, 'b': 'b.zarr'})")
    for name in data:
        if not isinstance(name, str) or not name.strip() or "/" in name or name in (".", ".."):
            raise ParameterError("data", name, "names of maps: text that is not empty and has no slash")
    return xr.DataTree.from_dict({f"/{name}": _one_cube(name, given) for name, given in data.items()})


def collect_tilts(
    data: Any,
    *,
    tilts_deg: Sequence[float] | Mapping[str, float] | None = None,
    axis: Literal["y", "x"] = "y",
    fields: Literal["common", "all"] = "common",
) -> xr.Dataset:
    """Make one tilt series of maps of one tilt each, in the order of their tilts; reads no counts.

    Parameters
    ----------
    data : collection, cubes, or stores
        A collection, or the path of its store; a list of cubes and stores; or these by name, as ``collect``
        takes them. A cube of all tilts, as ``from_array`` makes it of four dimensions, is put in order.
    tilts_deg : sequence or mapping of float, optional
        Tilt of each map in degrees, in the order of ``data`` or by name; None: what the files say of the
        stage.
    axis : {"y", "x"}
        Dimension of the maps that the tilt axis is along.
    fields : {"common", "all"}
        Of maps with different sizes, which are put together by their middles: "common" cuts them to the
        pixels that all have; "all" fills smaller ones with pixels without photons, which is right only for an
        object that lies within all of them.

    Returns
    -------
    Dataset
        Lazy ``counts(tilt, y, x, energy)``, images that all maps have, ``tilt_map``, and ``tilt_dose`` where
        the files know live times.

    Raises
    ------
    ParameterError
        If tilts are missing or repeated, or there is but one map.
    SchemaError
        If sizes of pixels or energy axes differ, or a map has more than one tilt.

    Notes
    -----
    *Chunks*: those of the maps, one tilt each.

    Examples
    --------
    >>> maps = [simulate(shape=(4, 6), counts=9, seed=seed) for seed in range(3)]
    >>> series = collect_tilts(maps, tilts_deg=[30, -30, 0])
    >>> series.tilt.values.tolist(), series.counts.shape
    ([-30.0, 0.0, 30.0], (3, 4, 6, 970))
    """
    from edxdask.results.tilts import ordered_series, series_of_maps

    if isinstance(data, str | Path):
        data = open(data) if not Path(data).is_file() else _one_cube(str(data), data)
    if isinstance(data, xr.Dataset):
        if isinstance(tilts_deg, Mapping):
            raise ParameterError("tilts_deg", tilts_deg, "one tilt for each projection, as a list")
        return ordered_series(data, tilts_deg=tilts_deg, axis=axis)
    maps = cubes_in(data) if is_collection(data) else _named_cubes(data)
    return series_of_maps(maps, tilts_deg=tilts_deg, axis=axis, fields=fields)


def _named_cubes(data: Any) -> dict[str, xr.Dataset]:
    """Cubes by name; those of a list have the names of their stores, or numbers."""
    if isinstance(data, Mapping):
        named = dict(data)
    elif isinstance(data, Sequence) and not isinstance(data, str):
        stems = [Path(one).stem if isinstance(one, str | Path) else f"map_{i}" for i, one in enumerate(data)]
        names = [stem if stems.count(stem) == 1 else f"{stem}_{i}" for i, stem in enumerate(stems)]
        named = dict(zip(names, data, strict=True))
    else:
        raise ParameterError(
            "data", type(data).__name__, "maps of one tilt each", "collect_tilts([ds, 'b.zarr', 'c.zarr'])"
        )
    return {str(name): _one_cube(str(name), given) for name, given in named.items()}


def _one_cube(name: str, given: Any) -> xr.Dataset:
    """Give the cube itself, or that of a store of one map."""
    if isinstance(given, str | Path):
        path = Path(given)
        if path.is_file():
            store = path.with_suffix(".zarr")
            raise ParameterError(
                f"data[{name!r}]",
                str(given),
                "a cube or a store; this is a file of another program",
                f"Ingest it first: edxdask.ingest({str(path)!r}, {str(store)!r})",
            )
        opened = open(path)
        if is_collection(opened):
            raise ParameterError(
                f"data[{name!r}]",
                str(given),
                "a store of one map",
                f"This one is a collection: give {str(path / next(iter(opened.children)))!r}, or another of "
                f"its maps: {', '.join(opened.children)}",
            )
        given = opened
    return schema.validate_cube(given, name=f"data[{name!r}]")


def simulate(
    recipe: str = "mantle",
    *,
    shape: Sequence[int] = (180, 180),
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
    compositions: Mapping[str, Mapping[str, float]] | None = None,
    thickness: float | None = None,
    chunks: int | tuple[int, int] = 64,
    tilts: Sequence[float] | None = None,
    misaligned: bool | Mapping[str, float | None] = False,
    shadows: bool | Sequence[tuple[float, float] | None] = False,
    dose_drift: float | Sequence[float] | None = None,
    absorption: bool = False,
    overwrite: bool = False,
    resume: bool = False,
    progress: ProgressOption = None,
) -> xr.Dataset:
    """Simulate a spectrum image with known truth; with ``out``, write it to a store and open that.

    Parameters
    ----------
    recipe : {"mantle", "nanoparticles", "tomography", "core-shell"}
        Maps: "mantle", three phases, two of them never pure; "nanoparticles", four phases, total varies.
        Tilt series: "tomography", a grain with precipitates, some of which have a core; "core-shell", a
        particle.
    shape : (int, int) or (int, int, int)
        Rows and columns. Of a tilt series those of every projection, with as many planes as columns; or
        planes, rows and columns.
    counts : float
        Expected photons per pixel, mean over the map; of a tilt series mean over the thick part of the
        object, where it has at least a quarter of its largest thickness, and over the tilts.
    seed : int
        0 or more; another seed is another map and other photons.
    out : str or Path, optional
        Store to write; a store is written chunk by chunk and may be larger than memory.
    channels : int, optional
        Number of channels; None: the recipe's own.
    energy_offset : float, optional
        Energy of the first channel, keV; None: the recipe's own.
    energy_scale : float
        Step between channels, keV.
    beam_energy : float
        Energy of the beam's electrons, 60 to 300 keV.
    fwhm_mn_ka_ev : float
        Width of the detector at Mn Kα, eV.
    elevation_deg : float or sequence of float
        Elevation of the detector, or of each of an array.
    pixel_size : float, optional
        Step between pixels, nm; None: the recipe's own.
    grain : float, optional
        Typical diameter of a grain in pixels; None: the recipe's own.
    compositions : dict, optional
        Atoms by phase, ``{"Brg": {"Nd": 0.025}}``, in the recipe's unit, at.% of "mantle": these replace
        those of the recipe, element by element.
    thickness : float, optional
        Thickness of all phases in nm; None: the recipe's own.
    chunks : int or (int, int)
        Pixels along y and x of a chunk.
    tilts : sequence of float, optional
        Angles of a tilt series, degrees; the axis is along y. None: -70 to 70 in steps of 5.
    misaligned : bool or dict
        Of a tilt series: True moves projections by up to 3 px, puts the axis 1.7 px off the middle and turns
        it by 1°; ``{"shift_px": 3, "axis_px": 1.7, "rotation_deg": 1, "margin_px": None}`` are these values,
        each may be given. ``margin_px`` rows at both ends stay empty; None: as many as keep the object in
        the field.
    shadows : bool or sequence
        Of a tilt series: (tilt at which the holder begins to shade a detector, tilt at which it covers it) of
        each detector, None for one that stays in sight; True: two of four go into shadow.
    dose_drift : float or sequence of float, optional
        Of a tilt series: change of the beam from the first to the last tilt (-0.3: it falls by 30 %), or the
        dose of each tilt. ``counts`` stays the mean.
    absorption : bool
        Of a tilt series: absorb each photon on its own path through the object to a detector, by the
        attenuation of the outermost phase. Without it, spectra are those of films of the recipe's thickness.
        ``counts`` and ``truth_total`` are then those before absorption.
    overwrite : bool
        Replace the store at ``out``.
    resume : bool
        Continue an unfinished store at ``out``.
    progress : callable, optional
        Called with a ``Progress`` while the store is written.

    Returns
    -------
    Dataset
        ``counts``, lazy, with ``truth_abundance``, ``truth_total``, ``truth_spectrum`` and
        ``truth_composition``; of a tilt series also ``truth_volume``, ``truth_photons_per_voxel``,
        ``truth_exposure`` and the moves and turn of each projection, as ``TiltGeometry`` has them.

    Examples
    --------
    >>> simulate(shape=(8, 8), counts=10).counts.shape
    (8, 8, 970)
    >>> series = simulate("tomography", shape=(32, 8, 32), counts=20, tilts=range(-60, 61, 10))
    >>> series.counts.shape, series.truth_volume.shape
    ((13, 8, 32, 970), (3, 32, 8, 32))
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
        compositions=compositions,
        thickness=thickness,
        chunks=chunks,
        tilts=tilts,
        misaligned=misaligned,
        shadows=shadows,
        dose_drift=dose_drift,
        absorption=absorption,
    )
    if out is None:
        if overwrite or resume or progress:
            raise ParameterError("out", None, "a store to write when overwrite, resume or progress is given")
        return ds
    label = f"simulate {Path(out).name}"
    with shown(progress, label) as hook:
        renamed = None if hook is None else _renamed(hook, label)
        written = save(ds, out, overwrite=overwrite, resume=resume, progress=renamed)
    if not isinstance(written, xr.Dataset):
        raise TypeError("a saved Dataset must open as a Dataset")
    return written


def _renamed(progress: ProgressHook, label: str) -> ProgressHook:
    """Drawing happens while the store is written, so the writing's progress is that of the simulation."""

    def hook(event: Progress) -> None:
        progress(replace(event, label=label))

    return hook
