"""Where the chunks of a cube are: plain arithmetic, used by writer, manifest and reader.

A *band* is one row of chunks along the last pixel dimension; it is the unit of progress and of resume.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SIDE = 64  # pixels; 32² to 128² read alike, 256² is 30 % slower


@dataclass(frozen=True)
class ChunkGrid:
    """Chunks of 64 × 64 pixels of the last two pixel dimensions, over the whole energy axis.

    A cube of one pixel dimension has chunks of 4096 pixels; pixel dimensions before the last two are
    cut pixel by pixel.

    Attributes
    ----------
    pixels : length of every pixel dimension
    channels : length of the energy axis

    Examples
    --------
    >>> grid = ChunkGrid((130, 100), 2048)
    >>> grid.bands, grid.columns, grid.chunk_shape
    (3, 2, (64, 64, 2048))
    >>> grid.region(2, 1)
    (slice(128, 130, None), slice(64, 100, None))
    """

    pixels: tuple[int, ...]
    channels: int

    @property
    def chunk_pixels(self) -> tuple[int, ...]:
        """Pixels of a chunk along every pixel dimension."""
        if len(self.pixels) == 1:
            return (min(SIDE * SIDE, self.pixels[0]),)
        lead = (1,) * (len(self.pixels) - 2)
        return (*lead, min(SIDE, self.pixels[-2]), min(SIDE, self.pixels[-1]))

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """Shape of a chunk, energy last."""
        return (*self.chunk_pixels, self.channels)

    @property
    def blocks(self) -> tuple[int, ...]:
        """Number of chunks along every pixel dimension."""
        return tuple(-(-n // c) for n, c in zip(self.pixels, self.chunk_pixels, strict=True))

    @property
    def _band_blocks(self) -> tuple[int, ...]:
        return self.blocks[:-1] if len(self.pixels) > 1 else self.blocks

    @property
    def bands(self) -> int:
        """Number of bands."""
        return math.prod(self._band_blocks)

    @property
    def columns(self) -> int:
        """Number of chunks in a band."""
        return self.blocks[-1] if len(self.pixels) > 1 else 1

    def index(self, band: int, column: int) -> tuple[int, ...]:
        """Chunk index along every pixel dimension."""
        lead = tuple(int(i) for i in np.unravel_index(band, self._band_blocks))
        return (*lead, column) if len(self.pixels) > 1 else lead

    def place(self, index: tuple[int, ...]) -> tuple[int, int]:
        """Band and column of a chunk index: the inverse of ``index``.

        Examples
        --------
        >>> grid = ChunkGrid((3, 130, 100), 8)
        >>> grid.place(grid.index(7, 1))
        (7, 1)
        """
        lead = index[:-1] if len(self.pixels) > 1 else index
        band = int(np.ravel_multi_index(lead, self._band_blocks))
        return band, index[-1] if len(self.pixels) > 1 else 0

    def region(self, band: int, column: int) -> tuple[slice, ...]:
        """Pixels of a chunk, one slice per pixel dimension."""
        return tuple(
            slice(i * c, min((i + 1) * c, n))
            for i, c, n in zip(self.index(band, column), self.chunk_pixels, self.pixels, strict=True)
        )

    def band_pixels(self, band: int) -> int:
        """Count the pixels of a band."""
        lead = self.region(band, 0)
        rows = math.prod(s.stop - s.start for s in (lead[:-1] if len(self.pixels) > 1 else lead))
        return rows * (self.pixels[-1] if len(self.pixels) > 1 else 1)

    def file_name(self, index: tuple[int, ...]) -> str:
        """Name of a chunk's file within the folder of ``counts``."""
        return ".".join(["c", *map(str, index), "0"])

    def dense_bytes(self, itemsize: int = 2) -> int:
        """Bytes of one dense chunk."""
        return math.prod(self.chunk_shape) * itemsize
