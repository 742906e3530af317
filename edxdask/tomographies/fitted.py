"""What photons by class say before slabs begin: the photons of a full voxel, and the strength of the prior.

Both are found on a few rows, those with the most photons, and kept beside the unfinished volume.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edxdask.errors import SchemaError
from edxdask.progress import Progress, ProgressHook
from edxdask.tomo.records import finished, read_record, write_record
from edxdask.tomo.slabs import SlabWork
from edxdask.tomo.strength import choose_strength
from edxdask.tomo.yields import common_scale
from edxdask.tomographies.options import Options

logger = logging.getLogger(__name__)

TRIAL_ROWS = 8


@dataclass(frozen=True)
class Fitted:
    """Numbers that the photons gave.

    Attributes
    ----------
    scale : factor from relative responses to photons of a full voxel
    strength : of the prior
    """

    scale: float
    strength: float


def fitted(
    rows: tuple[int, int], work: SlabWork, options: Options, journal: Path, progress: ProgressHook | None
) -> Fitted:
    """Find, or take from an interrupted run, what photons say.

    Parameters
    ----------
    rows : (int, int)
        First of the rows to look at, and the end.
    work : SlabWork
        With relative responses.
    options : Options
        Whether the strength is given.
    journal : path
        Folder of the record.
    progress : callable, optional
        Called with a ``Progress``.
    """
    if finished(journal):
        kept = read_record(journal, 0)
        return Fitted(float(kept["scale"]), float(kept["strength"]))
    if progress is not None:
        progress(Progress("photons of a voxel, and strength of the prior", 0, None, "trial"))
    projector = work.projector(rows)
    counts = work.cube.read(*projector.detector_rows, narrow=work.narrow)
    settings = work.settings
    scale, _ = common_scale(counts, projector, work.responses, settings)
    if not scale > 0:
        raise SchemaError(
            f"rows {rows[0]} to {rows[1]} along the tilt axis hold no photons that any phase explains"
        )
    strength = options.strength if options.prior != "none" else 0.0
    if strength is None:
        choice = choose_strength(counts, projector, scale * work.responses, settings)
        strength = choice.strength
        tried = ", ".join(f"{one:.3g}" for one in choice.tried)
        logger.info("tomography: strength %.3g of the prior, of %s by count splitting", strength, tried)
    write_record(journal, 0, scale=np.array(scale), strength=np.array(float(strength)))
    return Fitted(float(scale), float(strength))


def richest_rows(photons: Sequence[float] | np.ndarray, within: tuple[int, int]) -> tuple[int, int]:
    """Rows next to one another, first and end, that hold the most photons.

    Examples
    --------
    >>> richest_rows([0, 1, 0, 0, 0, 2, 9, 9, 9, 2, 2, 2, 2, 0, 0, 0], (0, 16))
    (5, 13)
    >>> richest_rows([5, 1, 1], (1, 3))
    (1, 3)
    """
    own = np.asarray(photons, dtype=np.float64)[slice(*within)]
    count = min(TRIAL_ROWS, own.size)
    sums = np.convolve(own, np.ones(count), "valid")
    first = within[0] + int(np.argmax(sums))
    return first, first + count
