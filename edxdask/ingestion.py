"""``ingest`` as it is public: files into a store, frames aligned on the way if the user wants that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from edxdask.errors import ParameterError
from edxdask.io.frames import Alignment
from edxdask.io.ingest import Detectors, Source, ingest_with, options_of
from edxdask.io.store import open_store
from edxdask.io.target import is_ours
from edxdask.io.tilts import Tilts
from edxdask.photons.frames import Drift, FrameSeries
from edxdask.progress import ProgressHook, ProgressOption, shown
from edxdask.results.collections import is_collection


def ingest(
    src: Source,
    out: str | Path,
    *,
    frames: tuple[int, int] | None = None,
    detectors: Detectors = "sum",
    align: bool = False,
    image: str | None = None,
    group: int | None = None,
    max_step_px: float | None = None,
    drop_bad_frames: bool = False,
    tilts: Tilts = False,
    resume: bool = False,
    overwrite: bool = False,
    progress: ProgressOption = None,
) -> xr.Dataset | xr.DataTree:
    """Turn vendor files, or a cube in memory, into a store, and open it.

    Parameters
    ----------
    src : path, list of paths, Dataset, DataTree or HyperSpy signal
        Vendor file; several files, which make a collection; or what is in memory. With ``align`` also a store
        of a cube of frames.
    out : path
        The store; it appears only when it is complete.
    frames : tuple of int, optional
        First and one past the last frame to sum, for formats that keep frames; None takes all.
    detectors : {"sum", "separate"}
        "sum" for one map of all detectors, "separate" for one map each (a collection).
    align : bool
        Correct the drift between frames: photons move by whole pixels, the field grows, no photon is lost
        (``align_frames``). For files whose frames can be read one by one (Velox, JEOL), and cubes of frames.
    image : str, optional
        With ``align``: what the frames are registered on, a scanned image that has frames, or "photons".
        None: "haadf" if the file has its frames, else another image, else photons.
    group : int, optional
        With ``align``: frames registered together; None: found from the photons per pixel.
    max_step_px : float, optional
        With ``align``: largest move from one group of frames to the next; None: a quarter of the side.
    drop_bad_frames : bool
        With ``align``: leave out frames that do not show what the others show; they are named in any case.
    tilts : bool or sequence of float
        For a tilt series, one file per tilt: True takes the tilts that the files say, numbers are one tilt
        per file, in degrees. Before anything is decoded, all headers are read, and missing or repeated tilts,
        and pixels or energy axes that differ, are errors. Maps are named and stored in the order of their
        tilts; ``collect_tilts`` makes one series of them.
    resume : bool
        Continue an unfinished ingest of the same source with the same options; finished bands are not decoded
        again, and the store is the same, bit by bit, as one made without a break.
    overwrite : bool
        Replace the store at ``out``, once the new one is complete.
    progress : callable, bool or None
        None shows a bar in a terminal and in a notebook; False shows nothing; a callable is called with a
        ``Progress`` after every band.

    Returns
    -------
    Dataset | DataTree
        The store, opened: one map, or a collection where there are several files or maps.

    Raises
    ------
    VendorFileError
        If a file cannot be read, or its counts differ from its own total.
    StoreExistsError, StoreBusyError, StoreWriteError
        If ``out`` exists, is being written, or cannot be.
    ParameterError
        If frames are to be aligned and the source has none, or they have nothing in common.

    Notes
    -----
    Memory: the photons of 64 rows in the reader's process, and two dense chunks here; with ``align`` also the
    pictures that frames are registered on (512 MiB at most, beyond that they are made again for each round).

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from edxdask.io import from_array
    >>> ds = from_array(np.ones((2, 3, 4), "u2"), energy_offset=0.0, energy_scale=0.01)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     int(ingest(ds, folder + "/map.zarr").counts.sum())
    24
    """
    how: dict[str, Any] = {
        "image": image,
        "group": group,
        "max_step_px": max_step_px,
        "drop_bad_frames": drop_bad_frames,
    }
    if not align:
        given = [name for name, value in how.items() if value]
        if given:
            raise ParameterError(given[0], how[given[0]], "nothing without align=True", "Add align=True.")
    writing: dict[str, Any] = {"resume": resume, "overwrite": overwrite, "progress": progress}
    if isinstance(src, str | Path) and tilts is not False:
        raise ParameterError("tilts", tilts, "False for a single file: a series has one file per tilt")
    options = options_of(frames, detectors)
    if align and isinstance(src, str | Path) and is_ours(Path(src)):
        src = open_store(src)
    if align and (isinstance(src, xr.Dataset) or is_collection(src)):
        from edxdask.mosaic import align_frames  # the other paths do without SciPy's images

        if frames is not None:
            raise ParameterError(
                "frames", frames, "None for a cube", "ds.isel(frame=slice(0, 10)) takes some."
            )
        cube: Any = src  # a Dataset or a DataTree, which overloads take apart
        return ingest_with(align_frames(cube, **how, progress=progress), out, options=options, **writing)
    with shown(progress, f"ingest {Path(out).name}") as hook:
        alignment = _alignment(how, hook) if align else None
        return ingest_with(src, out, options=options, alignment=alignment, tilts=tilts, **writing)


def _alignment(how: dict[str, Any], hook: ProgressHook | None) -> Alignment:
    """Say how frames are aligned, for the room that reads them."""
    from edxdask.mosaic.drift import find_drift

    finding = {name: value for name, value in how.items() if name != "drop_bad_frames"}

    def find(series: FrameSeries, label: str) -> Drift:
        return find_drift(series, **finding, progress=hook, label=label)

    return Alignment(find, how["drop_bad_frames"], how)
