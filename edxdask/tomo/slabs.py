"""Slabs of rows of the volume over all tilts, each reconstructed to the end by one pure task.

A slab needs its neighbours' rows only through the prior and, with in-plane rotation, through the projector:
with ``HALO_ROWS`` more rows on both sides its own differ by 1e-4 rms from those of the whole volume. So no
task waits for another, and one that is lost costs its slab only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from edxdask import schema
from edxdask.tomo.class_cube import ClassCube
from edxdask.tomo.estimate import VolumeSettings, reconstruct_slab
from edxdask.tomo.geometry import TiltGeometry
from edxdask.tomo.mixing import mixing_of
from edxdask.tomo.projector import Projector, Tilts
from edxdask.tomo.records import finished, write_record
from edxdask.tomo.tasks import Stop

HALO_ROWS = 4
CHUNK_SIDE, CHUNK_ROWS = 128, 16  # of the stored volume, along z and x, and along y: 0.5 to 1 MiB
DIMS = (schema.PHASE, schema.Z, schema.Y, schema.X)


@dataclass(frozen=True)
class Slab:
    """Rows that one task makes.

    Attributes
    ----------
    number : of the slab
    own : first row, and the end, of the rows that it writes
    held : of the rows that it reconstructs, those of its halo included
    seen : of the rows of projections that see them
    """

    number: int
    own: tuple[int, int]
    held: tuple[int, int]
    seen: tuple[int, int]

    @property
    def rows(self) -> int:
        """Number of rows that are reconstructed."""
        return self.held[1] - self.held[0]

    @property
    def detector_rows(self) -> int:
        """Number of rows of projections that are read."""
        return self.seen[1] - self.seen[0]


@dataclass(frozen=True)
class SlabWork:
    """What all slabs have in common: where counts are, how they are modelled, where volumes go.

    Attributes
    ----------
    cube : counts by class
    narrow : no count by class is above 255
    geometry : of the projections
    shape : (z, y, x) of the volume
    responses : (phase, class) photons of a voxel full of a phase
    settings : of the estimator
    out : folder of the Zarr array of the volume
    journal : folder of the records of finished slabs
    threads : of the projector, in each task
    out_scale : factor of what is stored: photons of a full voxel, where volumes are not in fractions
    first_row : of the volume as a whole that is the first one in ``out``
    rows_last : rows are the last axis of ``out``, since the tilt axis lies along x
    """

    cube: ClassCube
    narrow: bool
    geometry: TiltGeometry
    shape: tuple[int, int, int]
    responses: np.ndarray
    settings: VolumeSettings
    out: Path
    journal: Path
    threads: int = 1
    out_scale: float = 1.0
    first_row: int = 0
    rows_last: bool = False

    def projector(self, slab_rows: tuple[int, int], stop: Stop | None = None) -> Projector:
        """Give the projector of some rows of the volume."""
        depth, rows, width = self.shape
        return StoppableProjector(
            self.geometry,
            stop=stop,
            shape=(depth, width),
            columns=self.cube.shape[2],
            rows=slab_rows,
            volume_rows=rows,
            image_rows=self.cube.shape[1],
            threads=self.threads,
        )


class StoppableProjector(Projector):
    """A projector that ends its task when that shall stop: a projection takes less than a second."""

    def __init__(self, geometry: TiltGeometry, *, stop: Stop | None, **rest: Any) -> None:
        super().__init__(geometry, **rest)
        self._stop = stop

    def forward(self, volume: np.ndarray, tilts: Tilts = None) -> np.ndarray:
        """Project; see ``Projector``."""
        self._ask()
        return super().forward(volume, tilts)

    def back_from_frame(self, frame: np.ndarray, tilts: Tilts = None) -> np.ndarray:
        """Apply the transpose; see ``Projector``."""
        self._ask()
        return super().back_from_frame(frame, tilts)

    def _ask(self) -> None:
        if self._stop is not None:
            self._stop.check()


@dataclass(frozen=True)
class SlabTask:
    """Reconstructs one slab and writes its rows, aligned with chunks, and its record."""

    slab: Slab
    work: SlabWork

    @property
    def number(self) -> int:
        """Number of the slab."""
        return self.slab.number

    def __call__(self, stop: Stop | None = None) -> int:
        """Do the work; return the number of rows that were written."""
        slab, work = self.slab, self.work
        counts = work.cube.read(*slab.seen, narrow=work.narrow)
        found = reconstruct_slab(counts, work.projector(slab.held, stop), work.responses, work.settings)
        skip, rows = slab.own[0] - slab.held[0], slab.own[1] - slab.own[0]
        own = found.volume[:, :, skip : skip + rows] * np.float32(work.out_scale)
        mixing = mixing_of(own)
        array = zarr.open_array(work.out, mode="r+", config={"write_empty_chunks": True})
        first = slab.own[0] - work.first_row
        if work.rows_last:  # the tilt axis lies along x
            array[..., first : first + rows] = own.swapaxes(2, 3).astype(array.dtype)
        else:
            array[:, :, first : first + rows] = own.astype(array.dtype)
        write_record(
            work.journal,
            slab.number,
            rows=np.array(rows),
            objective=np.asarray(found.objective),
            photons=counts.sum(dtype=np.int64),
            converged=np.array(found.converged),
            chi2=found.misfit.chi2,
            blocks=found.misfit.blocks,
            phase_sums=mixing.whole,
            pure_sums=mixing.pure,
        )
        return rows


def plan_slabs(rows: tuple[int, int], slab_rows: int, work: SlabWork) -> list[Slab]:
    """Divide rows of a volume, first and end, into slabs; all but the last are whole chunks."""
    slabs = []
    for number, first in enumerate(range(*rows, slab_rows)):
        own = (first, min(first + slab_rows, rows[1]))
        held = (max(own[0] - HALO_ROWS, 0), min(own[1] + HALO_ROWS, work.shape[1]))
        slabs.append(Slab(number, own, held, work.projector(held).detector_rows))
    return slabs


def even_rows(rows: int, most: int) -> int:
    """Rows of slabs that are about equal, at most ``most``, and whole chunks where there are several.

    Examples
    --------
    >>> even_rows(24, 32), even_rows(100, 32), even_rows(512, 32), even_rows(40, 4)
    (24, 32, 32, 4)
    """
    if rows <= most:
        return rows
    each = -(-rows // -(-rows // most))
    chunk = min(CHUNK_ROWS, most)
    return min(-(-each // chunk) * chunk, most)


def create_volume(
    out: Path, phases: int, shape: tuple[int, int, int], slab_rows: int, dtype: str, *, rows_last: bool
) -> None:
    """Make the array of the volume (z, row, column), unless an interrupted run has.

    Slabs never share a chunk.
    """
    if (out / "zarr.json").exists():
        return
    depth, rows, width = shape
    chunk = next(n for n in range(min(CHUNK_ROWS, slab_rows), 0, -1) if slab_rows % n == 0)
    sizes, sides = (rows, width), (min(chunk, rows), min(CHUNK_SIDE, width))
    if rows_last:
        sizes, sides = sizes[::-1], sides[::-1]
    zarr.create_array(
        out,
        shape=(phases, depth, *sizes),
        chunks=(1, min(CHUNK_SIDE, depth), *sides),
        dtype=dtype,
        compressors=[BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle"), Crc32cCodec()],
        fill_value=0.0,
        dimension_names=DIMS,
        attributes={**schema.variable_attrs(schema.VOLUME)},
        config={"write_empty_chunks": True},
        zarr_format=3,
    )


def slab_tasks(slabs: Sequence[Slab], work: SlabWork) -> list[SlabTask]:
    """Tasks of the slabs that are not finished."""
    done = finished(work.journal)
    return [SlabTask(slab, work) for slab in slabs if slab.number not in done]
