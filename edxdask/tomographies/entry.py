"""The public function ``tomography``."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import xarray as xr

from edxdask.errors import ParameterError
from edxdask.factorize.guidance.guide import Absent
from edxdask.io import open_store
from edxdask.io.save import command_to_continue, identity_of
from edxdask.io.target import Target
from edxdask.progress import ProgressHook, ProgressOption, shown
from edxdask.results.collections import Data, cubes_in
from edxdask.tomo.estimate import MOST_ITERATIONS, TOLERANCE
from edxdask.tomographies.absorbed import check_absorption
from edxdask.tomographies.options import Options, both_ends, checked
from edxdask.tomographies.run import fill
from edxdask.tomographies.series import Series, series_of


def tomography(
    data: xr.Dataset | xr.DataTree,
    *,
    result: xr.Dataset | xr.DataTree | None = None,
    phases: int | Sequence[str] | None = 3,
    elements: Sequence[str] | str | None = None,
    absent: Absent | None = None,
    prior: Literal["tv", "none"] = "tv",
    strength: float | None = None,
    cap: bool = True,
    tilt_axis: str | float | None = None,
    tilts_deg: Sequence[float] | None = None,
    alignment: bool | xr.Dataset = True,
    shadows: Any = None,
    densities: Mapping[str, float] | None = None,
    absorption: bool = False,
    depth: float | None = None,
    rows: tuple[int | None, int | None] | None = None,
    dtype: Literal["float32", "float16"] = "float32",
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    slab_rows: int | None = None,
    workers: int | None = None,
    memory_limit: str | float | None = None,
    max_iter: int = MOST_ITERATIONS,
    tol: float = TOLERANCE,
    seed: int = 0,
    progress: ProgressOption = None,
) -> xr.Dataset:
    """Reconstruct volumes of phases from a tilt series, straight from its photons.

    All photons of all projections are fitted together: what a projection counts in a channel follows from the
    volumes along its rays and the spectra of the phases, and is Poisson. Volumes are never negative, sum to 1
    at most (``cap``), and are smooth where the photons allow it (``prior``). Nothing is resampled: moves of
    the projections are part of the model.

    Runs on the active dask Client if there is one, else on threads, slab by slab of rows along the tilt axis.

    Parameters
    ----------
    data : Dataset or DataTree
        Cube of counts (tilt, y, x, energy), or collection of maps of one tilt each, as from
        ``collect_tilts``.
    result : Dataset or DataTree, optional
        Result of ``psnmf`` or ``nmf`` to take the spectra of the phases from; None unmixes all projections
        together.
    phases : int, list of str or None
        Number of phases or their names, where ``result`` is not given; see ``psnmf``.
    elements : list of str or "find", optional
        Elements of the sample; see ``psnmf``. Compositions say what a full voxel emits, so volumes are
        fractions; without them, volumes are in photons of a voxel.
    absent : dict, optional
        Elements that a phase cannot hold; see ``psnmf``.
    prior : {"tv", "none"}
        "tv" (total variation in three dimensions, one length over all phases) keeps edges sharp.
    strength : float, optional
        Strength of the prior; None finds it by count splitting.
    cap : bool
        Phases fill a voxel at most; only where volumes are fractions.
    tilt_axis : {"y", "x"} or float, optional
        Dimension of the projections that the tilt axis lies along, or its angle to y in degrees, positive
        where the axis goes to smaller x as y grows; None takes what the series says, or else y.
    tilts_deg : list of float, optional
        Tilt of each projection; None takes those that the series says.
    alignment : bool or Dataset
        True finds how projections moved; False takes them as they are; a Dataset, as from ``align_tilts``,
        says it.
    shadows : list, optional
        What the holder hides: for each detector (tilt at which its shadow begins, tilt at which it is full)
        or None. Where the object is whole in the field, photons say how bright each projection is, and
        shadows that they contradict are named.
    densities : dict, optional
        g/cm³ by phase, which yields need: ``{"Brg": 4.1}``.
    absorption : bool
        True folds what the object absorbs on the way to the detectors into what full voxels emit, as the mean
        factor of each phase; it needs ``densities`` and pixels in nm. Spectra of a ``result`` then are those
        of matter that absorbs nothing, computed or of a thin film, and take the factor, too; those found from
        tilts hold it already.
    depth : float, optional
        Thickness of the volume along the beam at tilt 0, nm (pixels without calibration); None: as thick as
        it is wide.
    rows : (int, int), optional
        First row along the tilt axis, and the end, of a part to reconstruct, for a try; None for an end means
        that of all.
    dtype : {"float32", "float16"}
        Of the stored volume.
    out : path, optional
        Store of the volume, written slab by slab; None gives a volume in memory.
    resume : bool
        Continue an interrupted run with the same parameters; finished slabs are kept.
    overwrite : bool
        Replace the store at ``out``, once the new one is complete.
    slab_rows : int, optional
        Rows of a slab; None takes 32, or fewer where memory asks for it.
    workers : int, optional
        Threads; None takes one per processor that this program may use. A cluster has its own number.
    memory_limit : str or float, optional
        Such as "6GiB"; None means what is free.
    max_iter : int
        Most passes over the projections.
    tol : float
        Change of a slab still to come, relative to the slab, at which it has converged.
    seed : int
        Of the count splitting.
    progress : callable, bool or None
        None shows a bar in a terminal and in a notebook; False shows nothing; a callable gets every report.

    Returns
    -------
    Dataset
        ``volume(phase, z, y, x)``, fractions of voxels (attribute ``volume_kind``), with ``spectrum`` and,
        where known, ``composition`` and ``photons_per_voxel`` of the phases; of each tilt its moves, exposure
        and photons, and whether the volume explains it. Lazy, with ``out``.

    Raises
    ------
    ParameterError, SchemaError
        If the series cannot give a volume, or a parameter cannot be.
    MemoryBudgetError
        If a slab of the fewest rows does not fit.

    Notes
    -----
    *Chunks.* Any; counts are read once for the spectra and once to sum channels that say the same of the
    phases (``tomo.class_cube``). Peak memory does not depend on the number of rows.

    Examples
    --------
    >>> import numpy as np
    >>> import edxdask
    >>> counts = np.random.default_rng(0).poisson(0.2, (5, 8, 8, 40)).astype("u2")
    >>> tilts = edxdask.from_array(counts, energy_offset=0.0, energy_scale=0.1)
    >>> made = tomography(
    ...     tilts, tilts_deg=[-60, -30, 0, 30, 60], phases=1, strength=0.1, alignment=False, max_iter=3
    ... )
    >>> dict(made.volume.sizes), made.volume_kind
    ({'phase': 1, 'z': 8, 'y': 8, 'x': 8}, 'photons')
    """
    series = series_of(data, tilts_deg=tilts_deg, tilt_axis=tilt_axis)
    options = checked(
        Options(
            result, phases, elements, absent, prior, strength, cap, alignment, shadows, densities,
            absorption, depth, both_ends(rows, series.counts.shape[1]), dtype, slab_rows, workers,
            memory_limit, max_iter, tol, seed,
        )
    )  # fmt: skip
    check_absorption(series, options)
    entry = _entry(options, tilts_deg, tilt_axis)
    if out is None and (resume or overwrite):
        raise ParameterError("out", None, "a store to write where resume or overwrite is given")
    with shown(progress, "tomo") as hook:
        if out is not None:
            _written(data, series, options, Path(out), entry, resume=resume, overwrite=overwrite, hook=hook)
            return _opened(Path(out))
        with tempfile.TemporaryDirectory(prefix="edxdask-volume-") as folder:
            place = Path(folder) / "volume.zarr"
            _written(data, series, options, place, entry, resume=False, overwrite=False, hook=hook)
            return _opened(place).load()


def _written(
    data: Data,
    series: Series,
    options: Options,
    out: Path,
    entry: str,
    *,
    resume: bool,
    overwrite: bool,
    hook: ProgressHook | None,
) -> None:
    """Do the work, in a folder beside ``out`` that becomes it at the end."""
    identity = {
        "series": {name: identity_of(one) for name, one in cubes_in(data).items()},
        "tilts": series.tilt_deg.tolist(),
        "axis": [series.along, series.lean_deg],
        **options.identity(),
    }
    hint = command_to_continue(f"edxdask.tomography(tilts, …, out={str(out)!r}, resume=True)")
    with Target(out, identity=identity, hint=hint, resume=resume, overwrite=overwrite) as target:
        if not target.complete:
            fill(target, series, options, entry, hook)
        target.commit()


# where a parameter is not what is usual, the history says it
USUAL: dict[str, Any] = {
    "prior": "tv", "cap": True, "alignment": True, "absorption": False, "dtype": "float32",
    "max_iter": MOST_ITERATIONS, "tol": TOLERANCE, "seed": 0,
}  # fmt: skip


def _entry(options: Options, tilts_deg: Sequence[float] | None, tilt_axis: str | float | None) -> str:
    """Give the line of the history: what was asked for, where it is not what is usual."""
    named = ("phases", "elements", "absent", "densities", "depth", "rows", "strength", "shadows")
    given = {name: getattr(options, name) for name in named if options.result is None or name != "phases"}
    tilts = None if tilts_deg is None else [float(tilt) for tilt in tilts_deg]
    given |= {"tilt_axis": tilt_axis, "tilts_deg": tilts}
    said = [f"{name}={value!r}" for name, value in given.items() if value is not None]
    for name, usual in USUAL.items():
        value = getattr(options, name)
        if isinstance(value, xr.Dataset):
            said.append(f"{name}=…")
        elif value != usual:
            said.append(f"{name}={value!r}")
    return f"tomography({', '.join([*(['result=…'] if options.result is not None else []), *said])})"


def _opened(place: Path) -> xr.Dataset:
    made = open_store(place)
    if not isinstance(made, xr.Dataset):
        raise TypeError("a volume must open as a Dataset")
    return made
