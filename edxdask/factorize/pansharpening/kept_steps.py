"""Finished steps of a run, kept in its checkpoint folder: a resumed run skips them.

Each step has an identity: the data, the method, and the parameters that the step follows from. A
step of other parameters is refused. When to stop is different: a run may take longer, so a step that was
stopped by another rule is made again (from its last checkpoint), with all steps that follow from it.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edxdask.engine.checkpoint import Checkpoint, refuse_other_run
from edxdask.factorize.iteration.phases import Arrays

logger = logging.getLogger(__name__)

CHOICES, BINS, BINNED_FIT, STRENGTH = "choices", "bins", "binned_fit", "strength"
FIRST_MAPS, REFINED, MAPS = "first_maps", "refined", "maps"
STEPS = (CHOICES, BINS, BINNED_FIT, STRENGTH, FIRST_MAPS, REFINED, MAPS)  # each follows from those before it


@dataclass(frozen=True)
class KeptSteps:
    """Where finished steps of one run are.

    Attributes
    ----------
    folder : None keeps nothing
    identity : what all steps follow from: data, method, seed
    """

    folder: Path | None
    identity: Mapping[str, Any]

    def kept_or_made(
        self,
        step: str,
        make: Callable[[], Arrays],
        *,
        stop: Mapping[str, float] | None = None,
        **parameters: Any,
    ) -> Arrays:
        """Return what an earlier run kept of a step, or what ``make`` returns.

        Parameters
        ----------
        step : one of ``STEPS``
        stop : when the step stops; a step that was stopped otherwise is made again
        parameters : what the step follows from besides the run's identity

        Raises
        ------
        EdxdaskError
            If what is there belongs to another run.
        """
        if self.folder is None:
            return make()
        path = self.folder / f"{step}.npz"
        mine = json.loads(json.dumps({**self.identity, **parameters}, default=str))
        rule = {name: float(value) for name, value in (stop or {}).items()}
        if path.is_file():
            with np.load(path, allow_pickle=False) as stored:
                found = {key: stored[key] for key in stored.files}
            said = json.loads(str(found.pop("identity")))
            refuse_other_run(path, said["parameters"], mine)
            if said["stop"] == rule:
                return found
            logger.info("%s was stopped by %s, now by %s: it is made again", path, said["stop"], rule)
        self._forget(STEPS[STEPS.index(step) + 1 :])
        path.unlink(missing_ok=True)
        arrays = make()
        _write(path, {**arrays, "identity": np.array(json.dumps({"parameters": mine, "stop": rule}))})
        return arrays

    def make_again(self, step: str, make: Callable[[], Arrays], **parameters: Any) -> Arrays:
        """Replace what was kept of a step, and forget all that follows from it."""
        if self.folder is not None:
            (self.folder / f"{step}.npz").unlink(missing_ok=True)
        return self.kept_or_made(step, make, **parameters)

    def checkpoint(self, step: str, **parameters: Any) -> Checkpoint | None:
        """Checkpoint of a step that iterates."""
        if self.folder is None:
            return None
        return Checkpoint(self.folder / step, {**self.identity, **parameters})

    def forget(self) -> None:
        """Remove what was kept, when the run is done, and the folder if nothing else is in it."""
        self._forget(STEPS)
        if self.folder is not None and self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _forget(self, steps: tuple[str, ...]) -> None:
        if self.folder is None or not self.folder.is_dir():
            return
        for step in steps:
            (self.folder / f"{step}.npz").unlink(missing_ok=True)
            Checkpoint(self.folder / step, self.identity).remove()


def _write(path: Path, arrays: Arrays) -> None:
    """Write all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
