"""Checkpoints: every partition writes its own state, the client the factors; a rename makes it valid.

States are stored by pixel number, so that a run may resume with other partitions, on another scheduler.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edxdask.engine.executor import Executor
from edxdask.engine.partition import Partition
from edxdask.engine.step import State
from edxdask.errors import EdxdaskError
from edxdask.portable import sync_folder

_STEP = re.compile(r"step-(\d{8})$")
_PIECE = re.compile(r"pixels-(\d+)-(\d+)\.npz$")


@dataclass(frozen=True)
class StateLoader:
    """Makes a partition's state from a checkpoint; is sent to the workers."""

    folder: Path

    def __call__(self, partition: Partition) -> State:
        """Collect the rows of this partition from the pieces that hold them."""
        first = partition.plan.first_pixel
        stop = first + partition.plan.pixels
        state: State = {}
        found = 0
        for path in sorted(self.folder.glob("pixels-*.npz")):
            match = _PIECE.search(path.name)
            if match is None:
                continue
            low, high = int(match[1]), int(match[2])
            a, b = max(low, first), min(high, stop)
            if a >= b:
                continue
            found += b - a
            with np.load(path, allow_pickle=False) as piece:
                for name in piece.files:
                    array = piece[name]
                    if name not in state:
                        state[name] = np.empty((stop - first, *array.shape[1:]), array.dtype)
                    state[name][a - first : b - first] = array[a - low : b - low]
        if found != stop - first:
            raise EdxdaskError(
                f"{self.folder}: checkpoint without pixels {first} to {stop - 1}; was it removed during the "
                "run, or is it on a disk that this worker does not see? Start again with another folder."
            )
        return state


def write_state(partition: Partition, state: State, folder: Path) -> None:
    """Write one partition's state into a checkpoint in the making."""
    first = partition.plan.first_pixel
    _write_arrays(folder / f"pixels-{first}-{first + partition.plan.pixels}.npz", state)


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
        file.flush()
        os.fsync(file.fileno())


@dataclass(frozen=True)
class Checkpoint:
    """A folder of checkpoints of one run; only the newest complete one is kept.

    Attributes
    ----------
    folder : where; on a cluster, a folder that all workers see
    identity : what the run is (data, method, parameters); a checkpoint of another run is refused. When to
        stop is no part of it: a run may take more iterations than first requested, but not fewer (``Loop``)
    """

    folder: Path
    identity: Mapping[str, Any]

    def save(self, executor: Executor, iteration: int, shared: Mapping[str, np.ndarray]) -> Path:
        """Write states and factors; on any failure the previous checkpoint is as it was.

        Raises
        ------
        OSError
            If the disk is full or not writable.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        target = self.folder / f"step-{iteration:08d}"
        partial = target.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir()
            for _ in executor.collect(write_state, partial):
                pass
            _write_arrays(partial / "shared.npz", shared)
            meta = {"iteration": iteration, "identity": dict(self.identity)}
            with (partial / "meta.json").open("w") as file:
                json.dump(meta, file, sort_keys=True)
                file.flush()
                os.fsync(file.fileno())
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
            sync_folder(self.folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        return target

    def prune(self, keep: Path) -> None:
        """Remove all checkpoints but one, and what unfinished ones left."""
        for path in self.folder.glob("step-*"):
            if path != keep:
                shutil.rmtree(path, ignore_errors=True)

    def latest(self) -> tuple[int, dict[str, np.ndarray], StateLoader] | None:
        """Newest checkpoint as (iteration, factors, loader of states), or None.

        Raises
        ------
        EdxdaskError
            If it belongs to another run.
        """
        steps = self._steps()
        if not steps:
            return None
        meta = json.loads((steps[-1] / "meta.json").read_text())
        refuse_other_run(self.folder, meta["identity"], json.loads(json.dumps(dict(self.identity))))
        with np.load(steps[-1] / "shared.npz", allow_pickle=False) as stored:
            shared = {name: stored[name] for name in stored.files}
        return int(meta["iteration"]), shared, StateLoader(steps[-1])

    def remove(self) -> None:
        """Remove all checkpoints when the run is done, and the folder if nothing else is in it."""
        for path in self.folder.glob("step-*"):
            shutil.rmtree(path, ignore_errors=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _steps(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if _STEP.search(path.name))


def refuse_other_run(place: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Refuse what another run left; both identities as JSON gives them back.

    Raises
    ------
    EdxdaskError
        Naming what differs.
    """
    changed = sorted(k for k in {*here, *there} if here.get(k) != there.get(k))
    if changed:
        seen = ", ".join(f"{k}: {there.get(k)!r} there, {here.get(k)!r} here" for k in changed)
        raise EdxdaskError(
            f"{place}: this checkpoint is of another run ({seen}). Give the same parameters to resume "
            "it, or remove the folder to start again."
        )


def digest(*arrays: np.ndarray) -> str:
    """Short name of the values of some arrays, for the identity of a run."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:16]
