"""What is found before slabs begin, kept beside unfinished volumes, so that a resumed run has the same."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edxdask.tomo.geometry import TiltGeometry

_GEOMETRY = ("tilt_deg", "shift_y", "shift_x", "rotation_deg", "exposure")
_NAME, _VARIABLE = "prepared.npz", "variable-"


@dataclass(frozen=True)
class Prepared:
    """What slabs are made with.

    Attributes
    ----------
    left_out : numbers of projections without photons, in the order of the tilts
    geometry : of the others
    labels : of the phases
    spectra : (phase, energy) rows that sum to 1
    yields : (phase,) photons of a voxel full of a phase, over their mean; 1 where they are not known
    fractions : whether they are known
    class_of : (energy,) class of each channel, -1 for none
    responses : (phase, class) of these
    slab_rows : rows of a slab
    band_bytes : that a band of rows may have while counts by class are made
    trial_rows : first of the rows that scale and strength are found on, and the end
    variables : more of the phases by name of the schema, such as their composition
    elements : of that
    attrs : attributes of the volume
    warnings : what a person should know of the result
    """

    left_out: np.ndarray
    geometry: TiltGeometry
    labels: list[str]
    spectra: np.ndarray
    yields: np.ndarray
    fractions: bool
    class_of: np.ndarray
    responses: np.ndarray
    slab_rows: int
    band_bytes: int
    trial_rows: tuple[int, int]
    variables: dict[str, np.ndarray] = field(default_factory=dict)
    elements: list[str] = field(default_factory=list)
    attrs: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Keep it in ``folder``: all or nothing."""
        folder.mkdir(parents=True, exist_ok=True)
        words = {
            "labels": self.labels,
            "fractions": self.fractions,
            "slab_rows": self.slab_rows,
            "band_bytes": self.band_bytes,
            "trial_rows": list(self.trial_rows),
            "elements": self.elements,
            "attrs": self.attrs,
            "warnings": self.warnings,
        }
        scratch = folder / f"{_NAME}.tmp"
        with scratch.open("wb") as file:
            np.savez(
                file,
                allow_pickle=False,
                words=np.array(json.dumps(words)),
                left_out=self.left_out,
                spectra=self.spectra,
                yields=self.yields,
                class_of=self.class_of,
                responses=self.responses,
                **{name: getattr(self.geometry, name) for name in _GEOMETRY},
                **{f"{_VARIABLE}{name}": values for name, values in self.variables.items()},
            )
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(folder / _NAME)

    @classmethod
    def read(cls, folder: Path) -> Prepared | None:
        """Give what an interrupted run kept; None where it kept nothing.

        Examples
        --------
        >>> import tempfile
        >>> one = Prepared(
        ...     np.array([], int), TiltGeometry.of([-9, 0, 9]), ["a"], np.ones((1, 4)), np.ones(1), True,
        ...     np.zeros(4, int), np.ones((1, 1)), 16, 2**20, (0, 8),
        ... )
        >>> with tempfile.TemporaryDirectory() as name:
        ...     before = Prepared.read(Path(name))
        ...     one.write(Path(name))
        ...     print(before, Prepared.read(Path(name)).geometry.tilt_deg.tolist())
        None [-9.0, 0.0, 9.0]
        """
        path = folder / _NAME
        if not path.is_file():
            return None
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        words = json.loads(str(arrays.pop("words")))
        geometry = TiltGeometry(**{name: arrays.pop(name) for name in _GEOMETRY})
        more = [name for name in arrays if name.startswith(_VARIABLE)]
        variables = {name.removeprefix(_VARIABLE): arrays.pop(name) for name in more}
        words["trial_rows"] = tuple(words["trial_rows"])
        return cls(geometry=geometry, variables=variables, **arrays, **words)
