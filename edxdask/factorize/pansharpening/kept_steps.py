"""Finished stages of a long method, kept in its checkpoint folder: a resumed run goes past them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edxdask.errors import EdxdaskError

Arrays = dict[str, np.ndarray]


def kept_or_made(
    folder: Path | None, name: str, identity: Mapping[str, Any], make: Callable[[], Arrays]
) -> Arrays:
    """Return what ``make`` returns, from ``folder`` if an earlier run of the same identity left it there.

    Raises
    ------
    EdxdaskError
        If what lies there is of another run.
    """
    if folder is None:
        return make()
    path = folder / f"{name}.npz"
    mine = json.dumps(dict(identity), sort_keys=True, default=str)
    if path.is_file():
        with np.load(path, allow_pickle=False) as stored:
            found = {key: stored[key] for key in stored.files}
        if str(found.pop("identity")) != mine:
            raise EdxdaskError(
                f"{path}: this is of another run, with other data or parameters. Give the same parameters to "
                "go on with it, or remove the folder to start anew."
            )
        return found
    arrays = make()
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, allow_pickle=False, identity=np.array(mine), **arrays)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    return arrays
