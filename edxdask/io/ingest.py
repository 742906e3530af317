"""Turns vendor files into stores: streaming, checked against the file's own totals, resumable.

A band of 64 rows goes from the reader's process into the store before the next one is decoded, so that
memory follows the photons of a band, and a killed run loses one band.
"""

from __future__ import annotations

import importlib
import json
import logging
import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import xarray as xr

from edxdask.errors import ParameterError, VendorFileError
from edxdask.io.arrays import coordinates
from edxdask.io.frames import AlignedMap, Alignment, RemoteFrames, keep_drift, kept_drift
from edxdask.io.grid import SIDE, ChunkGrid
from edxdask.io.groups import begin_group, finish_group
from edxdask.io.manifest import MANIFEST
from edxdask.io.remote import Limits, RemoteReader
from edxdask.io.save import reporter, save
from edxdask.io.source import BackgroundHash, identity_of
from edxdask.io.store import open_store
from edxdask.io.target import Target
from edxdask.io.tilts import TiltFile, Tilts, files_by_tilt
from edxdask.io.totals import Totals
from edxdask.io.vendor.base import MapHeader, ReadOptions
from edxdask.io.writer import MapWriter, photon_jobs
from edxdask.progress import ProgressHook, ProgressOption, shown
from edxdask.results.frames import bad_frames_warning
from edxdask.schema import (
    ENERGY,
    HISTORY,
    SOURCE_FILE,
    SOURCE_SHA256,
    TILT_ALPHA,
    VENDOR_METADATA,
    WARNINGS,
    X,
    Y,
    as_json,
)

logger = logging.getLogger(__name__)

Detectors = Literal["sum", "separate"]
Source = Any  # str | Path | list of those | Dataset | DataTree | HyperSpy signal, which is not imported here


def ingest_with(
    src: Source,
    out: str | Path,
    *,
    options: ReadOptions,
    resume: bool = False,
    overwrite: bool = False,
    progress: ProgressOption = None,
    reader: str | None = None,
    limits: Limits | None = None,
    alignment: Alignment | None = None,
    tilts: Tilts = False,
) -> xr.Dataset | xr.DataTree:
    """Ingest with a given reader ("module:attribute") and limits, which ``ingest`` finds, and aligned."""
    if isinstance(src, xr.Dataset | xr.DataTree):
        _check_no_tilts(tilts)
        return save(src, out, overwrite=overwrite, resume=resume, progress=progress)
    if hasattr(src, "axes_manager"):
        _check_no_tilts(tilts)
        hyperspy: Any = importlib.import_module("edxdask.io.export.hyperspy")
        return save(hyperspy.from_hyperspy(src), out, overwrite=overwrite, resume=resume, progress=progress)
    paths, several = _paths(src)
    path = Path(out)
    _check_apart(paths, path)
    series = files_by_tilt(paths, tilts, options, reader=reader) if tilts is not False else []
    identity = {
        "sources": [identity_of(p) for p in paths],
        "several": several,
        "frames": options.frames,
        "detectors": options.detectors,
        **({"align": alignment.options} if alignment else {}),
        **({"tilts": [one.tilt_deg for one in series]} if series else {}),
    }
    hint = _hint(paths, path, options, alignment, tilts)
    with (
        shown(progress, f"ingest {path.name}") as hook,
        Target(path, identity=identity, hint=hint, resume=resume, overwrite=overwrite) as target,
    ):
        if not target.complete:
            run = _Run(target, options, several, hook, reader, limits, alignment, series)
            for number, source in enumerate([one.path for one in series] or paths):
                run.file(number, source)
            run.close()
        target.commit()
    return open_store(path)


def options_of(frames: Any, detectors: Any) -> ReadOptions:
    """Check what the user asked of the reader."""
    if detectors not in get_args(Detectors):
        raise ParameterError("detectors", detectors, "'sum' or 'separate'")
    if frames is None:
        return ReadOptions(detectors=detectors)
    pair = tuple(frames) if isinstance(frames, tuple | list) else ()
    if len(pair) != 2 or not all(isinstance(f, int) for f in pair) or not 0 <= pair[0] < pair[1]:
        raise ParameterError(
            "frames", frames, "(first, one past the last), 0 <= first < last", "frames=(0, 10)"
        )
    return ReadOptions(frames=(pair[0], pair[1]), detectors=detectors)


def _paths(src: Any) -> tuple[list[Path], bool]:
    """Paths of the source, and whether they always make a collection."""
    if isinstance(src, str | Path):
        return [Path(src)], False
    if not isinstance(src, list | tuple) or not all(isinstance(s, str | Path) for s in src):
        fix = "Wrap an array first: edxdask.from_array(counts, energy_offset=…, energy_scale=…)."
        raise ParameterError("src", type(src).__name__, "a path, a list of paths, a Dataset or a signal", fix)
    if not src:
        raise ParameterError("src", src, "at least one path")
    return [Path(s) for s in src], True


def _check_apart(paths: list[Path], out: Path) -> None:
    for path in paths:
        if not path.exists():
            raise VendorFileError(path, "none", "opening", "there is no such file")
        if path.resolve() == out.resolve():
            raise ParameterError("out", str(out), "another path than that of the source")


def _check_no_tilts(tilts: Tilts) -> None:
    if tilts is not False:
        raise ParameterError(
            "tilts", tilts, "False for what is in memory", "edxdask.collect_tilts(data) orders it."
        )


def _hint(
    paths: list[Path], out: Path, options: ReadOptions, alignment: Alignment | None, tilts: Tilts
) -> str:
    names = " ".join(f"'{p}'" for p in paths)
    frames = f" --frames {options.frames[0]}:{options.frames[1]}" if options.frames else ""
    detectors = " --detectors separate" if options.detectors == "separate" else ""
    aligned = " --align" if alignment else ""
    for name, value in (alignment.options if alignment else {}).items():
        option = f" --{name.replace('_', '-')}"
        aligned += option if value is True else f"{option} {value}" if value else ""
    listed = "auto" if isinstance(tilts, bool) else ",".join(f"{tilt:g}" for tilt in tilts)
    tilted = "" if tilts is False else f" --tilts {listed}"
    return f"edxdask ingest {names} -o '{out}'{frames}{detectors}{aligned}{tilted} --resume"


class _Run:
    """One ingest: file after file, map after map, into one target."""

    def __init__(
        self,
        target: Target,
        options: ReadOptions,
        several: bool,
        progress: ProgressHook | None,
        reader: str | None,
        limits: Limits | None,
        alignment: Alignment | None,
        series: Sequence[TiltFile],
    ) -> None:
        self._alignment, self._series = alignment, series
        self.target, self.options, self.progress = target, options, progress
        self.collection = several
        self._reader, self._limits = reader, limits
        self._names: list[str] = []

    def file(self, number: int, path: Path) -> None:
        """Ingest all maps of one file, unless an earlier run has finished them."""
        finished = self.target.partial / "journal" / f"file-{number}.json"
        if finished.exists():
            note = json.loads(finished.read_text())
            self._names += note["names"]
            self.collection = note["collection"]
            return
        before = identity_of(path)
        with (
            BackgroundHash(path) as digest,
            RemoteReader(path, self.options, limits=self._limits, reader=self._reader) as remote,
        ):
            self.collection = self.collection or len(remote.headers) > 1
            known = self._series[number] if self._series else None
            names = self._name(path, remote.headers) if known is None else self._take(known.name)
            for index, name in enumerate(names):
                self._map(remote, index, name, digest, {} if known is None else {TILT_ALPHA: known.tilt_deg})
            if identity_of(path) != before:
                remote.fail("the file changed while it was read", stage="checking totals")
        with self.target.writing():
            scratch = finished.with_suffix(".tmp")
            scratch.write_text(json.dumps({"names": names, "collection": self.collection}))
            scratch.replace(finished)

    def close(self) -> None:
        """Mark a collection as complete; a store of one map is complete already."""
        if self.collection:
            with self.target.writing():
                begin_group(self.target.store, "")
                finish_group(self.target.store, {})

    def _name(self, path: Path, headers: list[MapHeader]) -> list[str]:
        """Name a file's maps, uniquely within the store."""
        if not self.collection:
            return [""]
        stem = _plain_name(path.stem)
        single = len(headers) == 1
        names = []
        for header in headers:
            wish = name = stem if single else f"{stem}_{_plain_name(header.name)}"
            copy = 2
            while name in (*self._names, MANIFEST):
                name, copy = f"{wish}_{copy}", copy + 1
            self._names.append(name)
            names.append(name)
        return names

    def _take(self, name: str) -> list[str]:
        """Use a name that was given."""
        self._names.append(name)
        return [name]

    def _map(
        self, remote: RemoteReader, index: int, name: str, digest: BackgroundHash, known: dict[str, Any]
    ) -> None:
        header = remote.headers[index]
        aligned = self._aligned(remote, index, name) if self._alignment else None
        grid = ChunkGrid(aligned.moves.canvas if aligned else header.shape, header.channels)
        writer = MapWriter(self.target, name, (Y, X), grid)
        label = f"ingest {name or remote.path.name}"
        on_band = reporter(writer, label, self.progress)
        if writer.missing:
            skip = [band * SIDE for band in sorted(writer.done)]
            for first, block in aligned.bands(SIDE, skip) if aligned else remote.bands(index, SIDE, skip):
                writer.write(photon_jobs(first // SIDE, block, grid), on_band)
        decoded = int(writer.journal.manifest(grid).photons.sum())
        left_out = aligned.left_out if aligned else ""
        expected = None if left_out else header.expected_total
        unverified = left_out or header.unverified
        totals = Totals(expected, header.total_is_exact, unverified, header.remarks, decoded)
        _check_totals(remote, totals)
        rest = _description(header, remote, self.options, totals, digest.hexdigest()).assign_attrs(known)
        writer.finish(aligned.described(rest) if aligned else rest)

    def _aligned(self, remote: RemoteReader, index: int, name: str) -> AlignedMap | None:
        """Find the drift of one map, if it is to be aligned."""
        if self._alignment is None:
            return None
        frames = RemoteFrames(remote, index)
        note = self.target.partial / "journal" / f"drift-{name}.json"
        drift = kept_drift(note)
        if drift is None:
            drift = self._alignment.find(frames, f"align {name or remote.path.name}")
            with self.target.writing():
                keep_drift(note, drift)
        first = self.options.frames[0] if self.options.frames else 0
        found = AlignedMap.of(frames, drift, first=first, dropped=self._alignment.drop_bad_frames)
        bad = [int(found.numbers[i]) for i in drift.bad]
        if bad:
            logger.warning("%s: %s", remote.path, bad_frames_warning(bad, dropped=found.dropped))
        return found


def _plain_name(text: str) -> str:
    """Name of a group made from any text.

    Examples
    --------
    >>> _plain_name("map 1 (a/b)"), _plain_name("..")
    ('map_1_a_b', 'map')
    """
    return re.sub(r"[^\w-]+", "_", text).strip("_") or "map"


def _check_totals(remote: RemoteReader, totals: Totals) -> None:
    if totals.differ and totals.exact:
        remote.fail(totals.difference, stage="checking totals")
    for line in totals.lines:
        logger.warning("%s (%s): %s", remote.path, remote.reader, line)


def _description(
    header: MapHeader, remote: RemoteReader, options: ReadOptions, totals: Totals, digest: str
) -> xr.Dataset:
    """Everything but the counts: coordinates, images, attributes."""
    dims, shape = (Y, X, ENERGY), (*header.shape, header.channels)
    coords = coordinates(
        dims, shape, offset=header.energy_offset, scale=header.energy_scale, pixel_size=header.pixel_size
    )
    images = {}
    for name, image in header.images.items():
        own = (Y, X) if image.shape == header.shape else (f"{name}_{Y}", f"{name}_{X}")
        images[name] = xr.Variable(own, image, {"long_name": "scanned image that came with the map"})
    attrs = {
        **header.attrs,
        SOURCE_FILE: remote.path.name,
        SOURCE_SHA256: digest,
        VENDOR_METADATA: as_json(header.vendor_metadata),
        HISTORY: _history(header, remote, options, totals),
        **({WARNINGS: totals.warnings} if totals.warnings else {}),
    }
    return xr.Dataset(images, coords=coords, attrs=attrs)


def _history(header: MapHeader, remote: RemoteReader, options: ReadOptions, totals: Totals) -> list[str]:
    frames = f", frames {options.frames[0]} to {options.frames[1] - 1}" if options.frames else ""
    return [
        *header.attrs.get(HISTORY, []),
        f"ingested from {remote.path.name} by edxdask {version('edxdask')} "
        f"({remote.reader} reader, detectors: {options.detectors}{frames})",
        *totals.lines,
    ]
