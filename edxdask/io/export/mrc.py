"""MRC files of volumes, for tomviz, Chimera, IMOD and Fiji: a header of 1024 bytes, then float32.

Layout after the MRC2014 format (Cheng et al. 2015, J. Struct. Biol. 192, 146; www.ccpem.ac.uk/mrc-format):
columns along x, rows along y, sections along z, sizes of the cell in Å. Written by hand, as the header is
all there is to it, and layers are written where they belong, in any order.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from edxdask._version import __version__
from edxdask.io.export.target import writing
from edxdask.io.export.volume_stack import VolumeStack
from edxdask.progress import ProgressHook

HEADER_BYTES = 1024
FLOAT32, VOLUME_SPACE_GROUP, VERSION = 2, 1, 20141
LITTLE_ENDIAN = b"\x44\x44\x00\x00"
ANGSTROM_PER_NM = 10.0
LABELS, LABEL_BYTES = 10, 80
# words of 4 bytes: sizes 1-3, mode 4, start 5-7, sampling 8-10, cell 11-13, angles 14-16, order of axes
# 17-19, least, largest and mean value 20-22, space group 23, extended header 24, extra 25-49 (version in 28),
# origin 50-52, "MAP " 53, machine stamp 54, rms 55, number of labels 56, labels
_HEADER = struct.Struct("<4i3i3i3f3f3i3fii8s4si84s3f4s4sfi800s")


def write(
    stack: VolumeStack, number: int, path: Path, *, overwrite: bool, progress: ProgressHook | None = None
) -> None:
    """Write one volume of a stack, whole or not at all.

    Without calibration, a voxel has a side of 1 Å, as viewers expect.

    Notes
    -----
    *Chunks*: any; each is read once, one layer of them is in memory.
    """
    shape = stack.grid.shape
    with writing(path, overwrite=overwrite) as partial:
        with partial.open("wb") as file:
            file.truncate(HEADER_BYTES + 4 * int(np.prod(shape)))
        voxels = np.memmap(partial, dtype="<f4", mode="r+", offset=HEADER_BYTES, shape=shape)
        sums = _Sums()
        for place, values in stack.pieces(number, f"export {path.name}", progress):
            voxels[place] = values
            sums.add(values)
        voxels.flush()
        del voxels  # Windows renames no file that is mapped
        with partial.open("r+b") as file:
            file.write(_header(stack, stack.names[number], sums))


class _Sums:
    """Least, largest and mean value, and their spread."""

    def __init__(self) -> None:
        self.low, self.high, self.total, self.squares, self.count = np.inf, -np.inf, 0.0, 0.0, 0

    def add(self, values: np.ndarray) -> None:
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        self.total += float(values.sum(dtype=np.float64))
        self.squares += float(np.square(values, dtype=np.float64).sum())
        self.count += values.size

    @property
    def mean(self) -> float:
        return self.total / self.count

    @property
    def rms(self) -> float:
        """Root mean square of the difference from the mean."""
        return float(np.sqrt(max(self.squares / self.count - self.mean**2, 0.0)))


def _header(stack: VolumeStack, name: str, sums: _Sums) -> bytes:
    nz, ny, nx = stack.grid.shape
    scale = ANGSTROM_PER_NM if stack.grid.unit == "nm" else 1.0
    dz, dy, dx = (scale * side for side in stack.grid.sides)
    z0, y0, x0 = (scale * place for place in stack.grid.origin)
    texts = [f"edxdask {__version__}: {name}", *([stack.title] if stack.title else [])]
    labels = b"".join(_label(text) for text in texts).ljust(LABELS * LABEL_BYTES, b" ")
    return _HEADER.pack(
        *(nx, ny, nz, FLOAT32),
        *(0, 0, 0),
        *(nx, ny, nz),
        *(nx * dx, ny * dy, nz * dz),
        *(90.0, 90.0, 90.0),
        *(1, 2, 3),
        *(sums.low, sums.high, sums.mean),
        *(VOLUME_SPACE_GROUP, 0, b"", b"", VERSION, b""),
        *(x0, y0, z0),
        *(b"MAP ", LITTLE_ENDIAN, sums.rms, len(texts), labels),
    )


def _label(text: str) -> bytes:
    return text.encode("ascii", "replace")[:LABEL_BYTES].ljust(LABEL_BYTES, b" ")
