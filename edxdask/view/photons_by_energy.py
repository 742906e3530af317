"""Line maps, totals and spectra of a cube from its photons sorted by channel, made while one looks.

An index is made in the background, band by band, those in view first. What is asked of a chunk that is not
in it yet is read from the counts, where it is a matter of a few chunks; a map of many shows what is there.
"""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edxdask.io.grid import ChunkGrid
from edxdask.portable import lock
from edxdask.view.index_files import BandFile
from edxdask.view.kept_folder import remove_stale
from edxdask.view.kernels.by_energy import add_entries, add_spectrum, add_values
from edxdask.view.sorted_chunk import CountsSource, SortedChunk, read_sorted
from edxdask.view.viewport import ChunkPlane, Viewport

logger = logging.getLogger(__name__)

WINDOW_CHUNKS = 16  # a map reads at most so many chunks that are not indexed yet: about half a second
_MEMORY = 128 << 20  # bytes of chunks that were read before they were indexed
_WAIT = 1.0  # seconds between looks at what another viewer has made

Windows = Sequence[tuple[int, int, float]]  # first channel, one past the last, weight of their photons


class PhotonsByEnergy:
    """The photons of a cube by energy.

    Parameters
    ----------
    source : CountsSource
        What gives the counts.
    grid : ChunkGrid
        Chunks of the cube.
    folder : Path, optional
        Where the index is kept; None: in a temporary folder, which ends with the object.
    fingerprint : bytes
        Of the counts.
    unchanged : callable
        Whether the source still holds these counts.
    known_photons : (bands, columns), optional
        Photons of each chunk, which stand for those of its pixels until it is indexed.
    """

    def __init__(
        self,
        source: CountsSource,
        grid: ChunkGrid,
        *,
        folder: Path | None = None,
        fingerprint: bytes = b"\0" * 32,
        unchanged: Callable[[], bool] = lambda: True,
        known_photons: np.ndarray | None = None,
    ) -> None:
        self._known_photons = known_photons
        self.grid, self._source, self._unchanged = grid, source, unchanged
        self._temporary = tempfile.TemporaryDirectory(prefix="edxdask-view-") if folder is None else None
        self.folder = Path(self._temporary.name) if self._temporary is not None else folder or Path()
        self._files = [
            BandFile(self.folder / f"band-{band:06d}.photons", grid, band, fingerprint)
            for band in range(grid.bands)
        ]
        self._done: set[int] = set()
        self._recent: OrderedDict[tuple[int, int], SortedChunk] = OrderedDict()
        self._guard = threading.Lock()
        self._wanted: list[int] = []
        self._stopping = threading.Event()
        self._quiet = threading.Event()
        self._quiet.set()
        self._asking = 0
        self._thread: threading.Thread | None = None
        self._look()

    # What is asked.

    @property
    def fraction_done(self) -> float:
        """Fraction of the bands that are indexed."""
        return len(self._done) / max(1, self.grid.bands)

    def image(self, plane: ChunkPlane, view: Viewport, windows: Windows | None) -> tuple[np.ndarray, bool]:
        """Mean counts per pixel in windows of channels, or of all photons; and whether no chunk is missing.

        Parameters
        ----------
        plane : of the cube
        view : part and resolution
        windows : channels and weights; None: all photons

        Returns
        -------
        (rows, columns) float64, NaN where chunks are not indexed yet (of all photons their mean); bool
        """
        with self._asked(sorted({plane.band(row) for row, _ in plane.touched(view)})):
            flat = np.zeros(int(np.prod(view.shape)))
            unknown = np.zeros(flat.size)
            chunks = plane.touched(view)
            lacking = sum(plane.band(row) not in self._done for row, _ in chunks)
            for row, column in chunks:
                places = plane.places(view, row, column)
                band = plane.band(row)
                if band not in self._done and lacking > WINDOW_CHUNKS and (band, column) not in self._recent:
                    add_values(np.ones(places.size), places, unknown)
                    if windows is None and self._known_photons is not None:
                        mean = self._known_photons[band, column] / places.size
                        add_values(np.full(places.size, mean), places, flat)
                elif windows is None:
                    add_values(self._totals(band, column), places, flat)
                else:
                    for first, stop, weight in windows:
                        add_entries(self._entries(band, column, first, stop)[0], places, weight, flat)
            means = flat.reshape(view.shape) / view.cells
            shown = windows is None and self._known_photons is not None
            blank = np.zeros(view.shape, dtype=bool) if shown else unknown.reshape(view.shape) > 0
            return np.where(blank, np.nan, means), not unknown.any()

    def chunk_spectrum(self, band: int, column: int) -> np.ndarray:
        """Spectrum of a whole chunk."""
        if band in self._done:
            return self._files[band].spectra[column]
        return self._read(band, column).spectrum

    def part_spectrum(self, band: int, column: int, inside: np.ndarray) -> np.ndarray:
        """Spectrum of the pixels of a chunk that are inside."""
        spectrum = np.zeros(self.grid.channels, dtype=np.int64)
        entries, starts = self._entries(band, column, 0, self.grid.channels)
        add_spectrum(entries, starts, inside.ravel(), spectrum)
        return spectrum

    def spectrum(self, parts: Sequence[tuple[int, int, np.ndarray | None]]) -> np.ndarray:
        """Sum of chunks: band, column, and which pixels; None for all of them."""
        total = np.zeros(self.grid.channels, dtype=np.int64)
        with self._asked([]), ThreadPoolExecutor(2) as pool:
            for one in pool.map(
                lambda part: self.chunk_spectrum(*part[:2]) if part[2] is None else self.part_spectrum(*part),
                parts,
            ):
                total += one
        return total

    def _totals(self, band: int, column: int) -> np.ndarray:
        if band in self._done:
            return self._files[band].totals(column)
        return self._read(band, column).totals

    def _entries(self, band: int, column: int, first: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        if band in self._done:
            return self._files[band].entries(column, first, stop)
        chunk = self._read(band, column)
        starts = chunk.starts[first : stop + 1].astype(np.int64)
        return chunk.entries[starts[0] : starts[-1]], starts - starts[0]

    def _read(self, band: int, column: int) -> SortedChunk:
        """Read a chunk from the counts, or give it from those read before."""
        with self._guard:
            if (band, column) in self._recent:
                self._recent.move_to_end((band, column))
                return self._recent[band, column]
        chunk = read_sorted(self._source, self.grid, band, column)
        with self._guard:
            self._recent[band, column] = chunk
            while sum(one.nbytes for one in self._recent.values()) > _MEMORY:
                self._recent.popitem(last=False)
        return chunk

    @contextmanager
    def _asked(self, bands: Sequence[int]) -> Iterator[None]:
        """Hold the work in the background while something is asked, and let it go on with these bands."""
        with self._guard:
            self._wanted = [band for band in bands if band not in self._done] or self._wanted
            self._asking += 1
            self._quiet.clear()
        try:
            yield
        finally:
            with self._guard:
                self._asking -= 1
                if not self._asking:
                    self._quiet.set()

    # What goes on in the background.

    def start(self) -> None:
        """Begin or continue the index in a thread of its own."""
        with self._guard:
            if self._thread is None and self.fraction_done < 1 and not self._stopping.is_set():
                self._thread = threading.Thread(target=self._make_all, name="edxdask-view-index", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop the work in the background; what is finished stays."""
        self._stopping.set()
        self._quiet.set()
        if self._thread is not None:
            self._thread.join()
        if self._temporary is not None:
            self._temporary.cleanup()

    def wait(self, seconds: float = 600.0) -> bool:
        """Wait until all is indexed; whether it is."""
        end = time.monotonic() + seconds
        while self.fraction_done < 1 and time.monotonic() < end and not self._stopping.wait(0.02):
            pass
        return self.fraction_done == 1

    def _look(self) -> None:
        """Take in what is on the disk."""
        for band in set(range(self.grid.bands)) - self._done:
            if self._files[band].path.exists() and self._files[band].fits():
                self._done.add(band)

    def _make_all(self) -> None:
        try:
            while not self._stopping.is_set() and self.fraction_done < 1:
                with (self.folder / "lock").open("wb") as file:
                    try:
                        lock(file.fileno())
                    except OSError:  # another viewer is at it: take what it makes, or go on where it ends
                        self._stopping.wait(_WAIT)
                        self._look()
                        continue
                    self._look()
                    if self._temporary is None:
                        remove_stale(self.folder)
                    self._make_bands()
        except Exception:
            if not self._stopping.is_set():
                logger.exception("the index for fast line maps could not be made; each map reads the counts")

    def _make_bands(self) -> None:
        while not self._stopping.is_set() and self.fraction_done < 1:
            left = [band for band in range(self.grid.bands) if band not in self._done]
            with self._guard:
                band = next((one for one in self._wanted if one not in self._done), left[0])
            self._files[band].write(self._chunks_of(band))
            if self._stopping.is_set():
                return
            with self._guard:
                self._done.add(band)
                for key in [key for key in self._recent if key[0] == band]:
                    del self._recent[key]

    def _chunks_of(self, band: int) -> Iterator[SortedChunk]:
        for column in range(self.grid.columns):
            self._quiet.wait()
            if self._stopping.is_set() or not self._unchanged():
                raise InterruptedError("the viewer was closed, or the store was replaced")
            yield self._recent.get((band, column)) or read_sorted(self._source, self.grid, band, column)
