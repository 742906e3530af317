"""Phases that ``aided`` found with ``psnmf``, kept in its checkpoint folder until all of it is done.

``psnmf`` removes its own checkpoints when it ends. The masks, fits and abundances that follow may take as
long again, and an interruption in them must not cost the phases.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.engine.checkpoint import refuse_other_run
from edxdask.io.save import save
from edxdask.io.store import manifest_of, open_store, store_of
from edxdask.results.collections import OneOrMany

STORE, IDENTITY, OF_PSNMF = "phases.zarr", "phases.json", "psnmf"


def phases_kept_or_made(
    folder: Path | None,
    cubes: Mapping[str, xr.Dataset],
    options: Mapping[str, Any],
    make: Callable[[Path | None], OneOrMany],
) -> OneOrMany:
    """Give the phases that an interrupted run kept, or make and keep them.

    Parameters
    ----------
    folder : path, optional
        Of checkpoints; None keeps nothing.
    cubes : mapping of Dataset
        Maps by name.
    options : mapping
        What the phases follow from besides.
    make : callable
        Finds the phases; takes the folder of its own checkpoints.

    Raises
    ------
    EdxdaskError
        If what is there belongs to another run.
    """
    if folder is None:
        return make(None)
    mine = json.loads(json.dumps({"maps": {name: _said(cube) for name, cube in cubes.items()}, **options}))
    if (folder / IDENTITY).is_file() and (folder / STORE).is_dir():
        refuse_other_run(folder, json.loads((folder / IDENTITY).read_text(encoding="utf-8")), mine)
        return open_store(folder / STORE)  # type: ignore[return-value]  # of the kind that was saved
    made = make(folder / OF_PSNMF)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / IDENTITY).write_text(json.dumps(mine), encoding="utf-8")
    save(made, folder / STORE, overwrite=True, progress=False)
    return made


def forget_phases(folder: Path | None) -> None:
    """Remove what was kept, when all is done, and the folder if nothing else is in it."""
    if folder is None or not folder.is_dir():
        return
    shutil.rmtree(folder / STORE, ignore_errors=True)
    (folder / IDENTITY).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def _said(cube: xr.Dataset) -> list[Any]:
    """Say what map this is: sizes, ends of its energy axis, photons."""
    counts, energy = cube[schema.COUNTS], cube[schema.ENERGY].values
    stored = store_of(counts)
    photons = counts.sum(dtype=np.int64).item() if stored is None else int(manifest_of(stored).photons.sum())
    return [dict(counts.sizes), float(energy[0]), float(energy[-1]), photons]
