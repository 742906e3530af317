"""JEOL Analysis Station: event streams (.pts) and projects of them (.asw).

rosettasciio reads the headers (and one frame, binned to a single channel, which is cheap); the events are
decoded here, because its dense decoder needs width × height × 4096 counters, wraps at 255 by default and
drops everything after a damaged frame. Two walks through the file place every photon in its pixel: two bytes
per photon, for any size of map.

What a file says about itself is checked: the length of its stream, the number of sweeps, and the spectrum
kept beside the stream. In the one real file that we have, that spectrum equals the stream's exactly from its
channel 52 up and is corrected below; it starts at channel 96 of the stream and ends before its last. So
photons from its channel 100 up are compared, a difference only warns, and the user sees which channels
nothing vouches for.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.io.vendor.base import MapHeader, ReadOptions, UnknownStructureError, VendorMap
from edxdask.io.vendor.convert import band_ranges, number, slug, unique_names
from edxdask.io.vendor.hyperspy_dict import attributes, collect_images, pixel_size_of, vendor_metadata
from edxdask.io.vendor.kernels import jeol as kernels
from edxdask.photons import PhotonBlock

logger = logging.getLogger(__name__)

CHANNELS = 4096
FIELD = 4096  # rows and columns are given in 4096ths of the scanned field
_CORRECTED = 100  # channels of the header's spectrum that may differ from the stream for a good reason
_PTS_MAGIC, _ASW_MAGIC = 304, 0


@dataclass
class PtsMap:
    """One event stream; ``words`` are those of the chosen frames, which begin and end at ``edges``."""

    header: MapHeader
    words: np.ndarray
    edges: np.ndarray
    step: tuple[int, int]
    per_pixel: np.ndarray
    _events: tuple[np.ndarray, np.ndarray] | None = None

    def bands(self, rows: int, skip: Collection[int] = ()) -> Iterator[tuple[int, PhotonBlock]]:
        """Bands of rows, cut from the photons sorted by pixel; those are placed once, at the first call."""
        height, width = self.header.shape
        if self._events is None:
            self._events = self._place(self.words, self.per_pixel)
        for start, stop in band_ranges(height, rows, skip):
            yield start, _rows_of(*self._events, start * width, stop * width)

    def frame_rows(self, first: int, stop: int, top: int, bottom: int) -> PhotonBlock:
        """Photons of rows ``top`` to ``bottom``, summed over frames ``first`` to ``stop``."""
        words, width = self.words[self.edges[first] : self.edges[stop]], self.header.shape[1]
        per_pixel, _ = self._counted(words)
        return _rows_of(*self._place(words, per_pixel), top * width, bottom * width)

    def frame_image(self, name: str, frame: int) -> np.ndarray:
        """One frame of the scanned image, which is in the stream itself."""
        _, image = self._counted(self.words[self.edges[frame] : self.edges[frame + 1]])
        return image

    def _counted(self, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Count the photons of each pixel, and sum the scanned image."""
        per_pixel, image = np.zeros(self.header.shape, np.int64), np.zeros(self.header.shape, np.int64)
        kernels.count_photons(words, *self.step, per_pixel, image, np.zeros(CHANNELS, np.int64))
        return per_pixel, image

    def _place(self, words: np.ndarray, per_pixel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        indptr = np.zeros(per_pixel.size + 1, np.int64)
        np.cumsum(per_pixel.ravel(), out=indptr[1:])
        channel = np.empty(indptr[-1], np.uint16)
        kernels.place_photons(words, *self.step, self.header.shape[1], indptr[:-1].copy(), channel)
        return indptr, channel


def _rows_of(indptr: np.ndarray, channel: np.ndarray, first: int, stop: int) -> PhotonBlock:
    """Block of pixels ``first`` to ``stop`` of photons that are sorted by pixel."""
    pointers = indptr[first : stop + 1]
    return _block(pointers - pointers[0], channel[pointers[0] : pointers[-1]])


def _block(indptr: np.ndarray, channel: np.ndarray) -> PhotonBlock:
    merged = np.zeros_like(indptr)
    kernels.sort_and_count(indptr, channel, merged)
    out_channel, out_count = np.empty(merged[-1], np.uint16), np.empty(merged[-1], np.uint32)
    kernels.merge_sorted(indptr, channel, out_channel, out_count)
    return PhotonBlock(
        merged, out_channel, out_count.astype(np.min_scalar_type(out_count.max(initial=1))), CHANNELS
    )


@dataclass(frozen=True)
class JeolReader:
    """Reader of .pts and .asw."""

    name: str = "JEOL"
    suffixes: tuple[str, ...] = (".pts", ".asw")

    def accepts(self, path: Path) -> bool:
        """Whether it starts like a stream, or like a project that lists samples."""
        with path.open("rb") as file:
            start = file.read(65536)
        if len(start) < 36:
            return False
        magic, suffix = struct.unpack_from("<I", start)[0], path.suffix.lower()
        if suffix == ".asw":
            return magic == _ASW_MAGIC and b"SampleInfo" in start
        return suffix == ".pts" and magic == _PTS_MAGIC

    def open(self, path: Path, options: ReadOptions) -> list[VendorMap]:
        """Every .pts of the project, or the one given, with the images of its view."""
        from rsciio.jeol import file_reader

        signals = file_reader(str(path), SI_dtype=np.uint32, rebin_energy=CHANNELS, frame_list=[0])
        if path.suffix.lower() == ".pts":
            streams = [(path, signal) for signal in signals]
        else:
            streams = _streams_of_project(path, signals)
        if not streams:
            raise ValueError("it holds no spectrum image (.pts)")
        names = unique_names(slug(stream.stem, "map") for stream, _ in streams)
        try:
            maps = [_open_stream(*stream, name, options) for stream, name in zip(streams, names, strict=True)]
        except (KeyError, IndexError, TypeError, AttributeError) as error:  # not there, or of another kind
            raise UnknownStructureError(
                path, self.name, "opening", f"{type(error).__name__}: {error}"
            ) from error
        return [_with_images(item, stream, signals) for item, (stream, _) in zip(maps, streams, strict=True)]


def _streams_of_project(path: Path, signals: list[dict[str, Any]]) -> list[tuple[Path, dict[str, Any]]]:
    """Streams with their headers; rosettasciio leaves out a damaged one and only logs a line."""
    streams = [(_file_of(path, signal), signal) for signal in signals]
    streams = [(file, signal) for file, signal in streams if file.suffix.lower() == ".pts"]
    tree = signals[0]["original_metadata"]["asw"] if signals else {}
    named = _file_names(tree.get("SampleInfo", {}))
    missing = set(named) - {file.name for file, _ in streams}
    if missing:
        raise ValueError(f"the project names {sorted(missing)}, which could not be read")
    return streams


def _file_of(project: Path, signal: dict[str, Any]) -> Path:
    parts = str(signal["original_metadata"]["asw_viewdata"]["Filename"]).split("\\")
    return project.parent.joinpath(*parts)


def _file_names(tree: Any) -> list[str]:
    if not isinstance(tree, dict):
        return []
    own = str(tree.get("Filename", "")).split("\\")[-1]
    found = [own] if own.lower().endswith(".pts") else []
    return found + [name for branch in tree.values() for name in _file_names(branch)]


def _with_images(item: PtsMap, stream: Path, signals: list[dict[str, Any]]) -> PtsMap:
    """Add the images of the project that were taken in the same view."""
    beside = [
        s for s in signals if "asw_viewdata" in s["original_metadata"] and _view(s) == stream.parent.name
    ]
    item.header.images.update(collect_images(beside))
    return item


def _view(signal: dict[str, Any]) -> str:
    return str(signal["original_metadata"]["asw_viewdata"]["Filename"]).split("\\")[-2:][0]


def _open_stream(path: Path, signal: dict[str, Any], name: str, options: ReadOptions) -> PtsMap:
    words = words_of(path, whole=options.frames is None)
    shape = (int(signal["data"].shape[0]), int(signal["data"].shape[1]))
    if not all(1 <= size <= FIELD for size in shape):
        raise ValueError(f"a map of {shape} pixels; both sizes must be from 1 to {FIELD}")
    step = (FIELD // shape[0], FIELD // shape[1])
    measured = signal["original_metadata"]["PTTD Data"]["AnalyzableMap MeasData"]["Doc"]
    words, edges = _frames(words, step, int(measured["Sweep"]), options.frames)
    per_pixel, image = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    spectrum = np.zeros(CHANNELS, np.int64)
    lost = kernels.count_photons(words, *step, per_pixel, image, spectrum)
    if lost:
        raise ValueError(f"{lost} photons are outside the map of {shape} pixels: the stream is damaged")
    expected, unverified = None, "some frames were chosen, and the file's own sum spectrum is of all"
    if options.frames is None:
        expected, unverified = held_against_header(signal, spectrum)
    attrs = attributes(signal)
    live_time = number(measured.get("LiveTime"))
    if live_time:
        attrs[schema.LIVE_TIME] = live_time
    axis = signal["axes"][-1]
    header = MapHeader(
        name=name,
        shape=shape,
        channels=CHANNELS,
        energy_offset=float(axis["offset"]),
        energy_scale=float(axis["scale"]) / CHANNELS,
        pixel_size=pixel_size_of(signal["axes"][0], signal["axes"][1]),
        attrs=attrs,
        images={"stem": image} if image.any() else {},
        vendor_metadata=vendor_metadata(signal),
        expected_total=expected,
        total_is_exact=False,
        unverified=unverified,
        frames=edges.size - 1,
        frame_images=("stem",) if image.any() else (),
        dtype_max=max(0xFFFF, int(per_pixel.max())),
    )
    return PtsMap(header, words, edges, step, per_pixel)


def words_of(path: Path, *, whole: bool) -> np.ndarray:
    """Map the stream; its length is checked against the header where all of it is wanted."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first, length = struct.unpack_from("<2I", file.read(36), 28)
    if whole and size < first + length:
        raise ValueError(
            f"the file is cut off: its header announces {first + length} bytes, it holds {size}. "
            "frames=(0, n) takes the first n frames of what is there"
        )
    count = (size - first) // 2
    if count <= 0:
        raise ValueError(f"the stream should start at byte {first} of a file of {size} bytes")
    return np.memmap(path, dtype="<u2", mode="r", offset=first, shape=(count,))


def _frames(
    words: np.ndarray, step: tuple[int, int], sweeps: int, wanted: tuple[int, int] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Words of the frames wanted, and where each begins; one that was stopped within is left out."""
    table = np.zeros((kernels.count_frames(words) + 1, 4), np.int64)
    kernels.frame_table(words, table)
    frames = table[:-1]
    ends_low = frames[:, 1] >= FIELD - step[0]
    # without an image no event marks the last columns, so only the row shows whether a frame was finished
    complete = ends_low & ((frames[:, 2] >= FIELD - step[1]) | (frames[:, 3] == 0))
    count = int(complete.sum())
    if not complete[:count].all():
        raise ValueError(
            f"frame {int(np.argmin(complete))} of {len(frames)} stops early: the stream is damaged"
        )
    if wanted is not None:
        start, stop = wanted
        if not 0 <= start < stop <= count:
            expected = (
                f"a first frame and one past the last one, within the {count} complete frames of the file"
            )
            raise ParameterError("frames", wanted, expected)
        edges = table[start : stop + 1, 0]
        return words[edges[0] : edges[-1]], edges - edges[0]
    if count < sweeps:
        raise ValueError(
            f"the header announces {sweeps} sweeps, the file holds {count} complete ones; "
            f"frames=(0, {count}) takes what is there"
        )
    if count < len(frames):
        logger.warning("the acquisition stopped within frame %d; that frame is left out", count)
    edges = table[: count + 1, 0]
    return words[: edges[-1]], edges


def held_against_header(signal: dict[str, Any], spectrum: np.ndarray) -> tuple[int | None, str]:
    """Count the photons in the spectrum of the file's header, and say which photons it does not cover.

    ``spectrum``, (4096,), is the sum of what was decoded.
    """
    account = _account(signal)
    if account is None:
        return None, "the file's own sum spectrum could not be found"
    first, kept = account
    counted = spectrum[first:][: kept.size]
    differ = np.flatnonzero(counted != kept)
    corrected, wrong = differ[differ < _CORRECTED], differ[differ >= _CORRECTED]
    begin, end = first + int(corrected.max(initial=-1)) + 1, first + kept.size
    beyond = int(spectrum.sum() - spectrum[begin:end].sum())
    reasons = []
    if (begin, end) != (0, CHANNELS):
        reasons.append(
            f"the file's own sum spectrum covers channels {begin} to {end - 1}; "
            f"{beyond} of {spectrum.sum()} photons are beyond them"
        )
    if wrong.size:
        reasons.append(f"it differs in {wrong.size} channels, the first {first + wrong[0]}")
    expected = spectrum.sum() + (kept - counted)[_CORRECTED:].sum()
    return int(expected), "; ".join(reasons)


def _account(signal: dict[str, Any]) -> tuple[int, np.ndarray] | None:
    """Channel of the stream at which the header's spectrum starts (``DigZ``), and that spectrum."""
    try:
        original = signal["original_metadata"]
        kept = original["EDS Data"]["AnalyzableMap MeasData"]["Data"]["EDXRF"]
        template = original["EDS Data"]["AnalyzableMap MeasData"]["Meas Cond"]["Tpl"]
        first = int(original["PTTD Param"]["Params"]["PARAMPAGE1_EDXRF"]["Tpl"][template]["DigZ"])
    except (KeyError, TypeError):
        return None  # not every version keeps one
    kept = np.asarray(kept, np.int64).ravel()[: max(CHANNELS - first, 0)]
    return (first, kept) if first >= 0 and kept.size > _CORRECTED else None


READER = JeolReader()
