"""Finished parts of long work, one small file each: what resume reads."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edxdask.portable import sync_folder

_NAME = re.compile(r"(\d{8})\.npz")


def finished(folder: Path) -> set[int]:
    """Numbers of the parts that are finished.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as name:
    ...     write_record(Path(name), 3, photons=np.array([7]))
    ...     finished(Path(name)), [int(one["photons"][0]) for one in records(Path(name))]
    ({3}, [7])
    """
    if not folder.is_dir():
        return set()
    return {int(match[1]) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))}


def write_record(folder: Path, number: int, **arrays: np.ndarray) -> None:
    """Note a part as finished: the whole file or none, and on the disk when this returns."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{number:08d}.npz"
    # a task that a scheduler runs twice at once writes two files, of which either is right
    scratch = folder / f"{number:08d}-{os.getpid()}.tmp"
    with scratch.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(target)
    sync_folder(folder)


def read_record(folder: Path, number: int) -> dict[str, np.ndarray]:
    """Read the arrays of one finished part."""
    with np.load(folder / f"{number:08d}.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def records(folder: Path) -> Iterator[dict[str, np.ndarray]]:
    """Give the arrays of all finished parts, in the order of their numbers."""
    for number in sorted(finished(folder)):
        yield read_record(folder, number)
