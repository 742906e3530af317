"""The child process that reads a vendor file: ``python -m edxdask.io.sandbox``.

Vendor code may raise anything, crash, hang or take all memory; here it does no harm. This side sets its own
limits and answers requests; ``remote.py`` is the other side. Imports stay few: the child's memory counts.

The limits of memory and processor time are the kernel's on Linux. Without Python's ``resource`` (Windows)
time is limited by a thread that checks it, and memory is not; macOS limits time but not memory.
``remote.py`` says so once.
"""

from __future__ import annotations

import faulthandler
import importlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

import numpy as np

from edxdask.errors import VendorFileError
from edxdask.io import wire
from edxdask.io.vendor.base import (
    FramedMap,
    MapHeader,
    ReadOptions,
    UnknownStructureError,
    VendorMap,
    VendorReader,
)
from edxdask.io.wire import OUT_OF_TIME
from edxdask.photons import PhotonBlock
from edxdask.portable import WINDOWS, c_library, process_lives, resource_module

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_MAX_REQUEST = 1 << 20


def main(arguments: list[str]) -> int:
    """Serve vendor files, one after the other, to the process at the other end of a socket."""
    connection, parent = wire.connection_from(int(arguments[0])), int(arguments[1])
    _die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    faulthandler.enable()
    request: dict[str, Any] | None = wire.receive(connection, max_bytes=_MAX_REQUEST).fields
    while request is not None:
        request = _serve(connection, request)
    return 0


def _serve(connection: wire.Connection, request: dict[str, Any]) -> dict[str, Any] | None:
    """Serve the file that ``request`` names; return the request for the next one, if there is one."""
    _limit_memory(int(request["memory_bytes"]))
    server = _Server(connection, Path(request["path"]), float(request["cpu_seconds"]))
    try:
        return server.serve(request)
    except EOFError:
        return None  # the parent is done with us
    except BaseException as error:  # for any error the parent gets one report and raises one error
        if not isinstance(error, BrokenPipeError):
            server.tell(error)
    return None


class _Server:
    def __init__(self, connection: wire.Connection, path: Path, cpu_seconds: float) -> None:
        self.connection, self.path, self.cpu_seconds = connection, path, cpu_seconds

    def serve(self, request: dict[str, Any]) -> dict[str, Any]:
        """Open the file, send headers, then the requested bands; return the request for another file."""
        self.allow_time()
        reader = _reader(self.path, request["reader"])
        self.send("reader", {"name": str(reader.name)})
        frames = request["frames"]
        options = ReadOptions(frames=tuple(frames) if frames else None, detectors=request["detectors"])
        maps = self.open(reader, options)
        self.send("opened", {"maps": len(maps)})
        for each in maps:
            self.send("header", _header_fields(each.header), list(each.header.images.values()))
        while True:
            message = wire.receive(self.connection, max_bytes=_MAX_REQUEST)
            wanted = message.fields
            if message.kind == "open":
                return wanted
            self.allow_time()
            if message.kind == "frames":
                block = cast("FramedMap", maps[wanted["map"]]).frame_rows(*wanted["frames"], *wanted["rows"])
                self.send("photons", {"channels": int(block.channels)}, arrays_of(block))
            elif message.kind == "image":
                source = cast("FramedMap", maps[wanted["map"]])
                self.send("image", {}, [source.frame_image(wanted["name"], wanted["frame"])])
            else:
                self.bands(maps[wanted["map"]], wanted["rows"], wanted["skip"])

    def open(self, reader: VendorReader, options: ReadOptions) -> list[VendorMap]:
        """Open the file by its reader, or by another decoder if that one does not know its structure."""
        try:
            return reader.open(self.path, options)
        except UnknownStructureError as error:
            fallback: Any = importlib.import_module("edxdask.io.vendor.fallback")
            if reader.name not in fallback.DECODERS:
                raise
            self.send("fallback", {"reader": fallback.NAME, "reason": error.reason})
            maps: list[VendorMap] = fallback.open_maps(reader.name, self.path, options, error.reason)
            return maps

    def bands(self, source: VendorMap, rows: int, skip: list[int]) -> None:
        """Send the bands of one map, each when the parent has finished the one before.

        Reading ahead would lose two bands instead of one when the parent is killed.
        """
        for first, block in source.bands(rows, frozenset(skip)):
            fields = {"first": int(first), "channels": int(block.channels)}
            self.send("band", fields, arrays_of(block))
            wire.receive(self.connection, max_bytes=_MAX_REQUEST)
            self.allow_time()
        self.send("end", {})

    def send(self, kind: str, fields: dict[str, Any], arrays: Any = ()) -> None:
        """Send a message and allow the next step its time."""
        wire.send(self.connection, kind, fields, arrays)
        self.allow_time()

    def allow_time(self) -> None:
        """Let the next step use its processor time, then SIGXCPU ends us.

        Processor time, and not time by the clock: a good file must not fail on a busy machine.
        """
        resource = resource_module()
        if resource is None:
            _watch.allow(self.cpu_seconds)
            return
        usage = resource.getrusage(resource.RUSAGE_SELF)
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        soft = int(usage.ru_utime + usage.ru_stime + self.cpu_seconds) + 1
        if hard != resource.RLIM_INFINITY:
            soft = min(soft, hard)
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))

    def tell(self, error: BaseException) -> None:
        """Report an error in one message."""
        fields: dict[str, Any] = {"reason": _reason(error)}
        if isinstance(error, VendorFileError):
            fields |= {"reason": error.reason, "stage": error.stage, "reader": error.reader}
        if isinstance(error, MemoryError):
            fields["memory"] = True
        wire.send(self.connection, "error", fields)


def arrays_of(block: PhotonBlock) -> list[np.ndarray]:
    """Arrays of a block, as they are sent."""
    return [block.indptr, block.channel, block.count]


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:1000] if text else type(error).__name__


def _reader(path: Path, spec: str | None) -> VendorReader:
    """Reader that accepts the file, or the one that ``spec`` ("module:attribute") names."""
    if spec is not None:
        module, attribute = spec.split(":")
        named: VendorReader = getattr(importlib.import_module(module), attribute)
        return named
    registry: Any = importlib.import_module("edxdask.io.vendor")
    found: VendorReader = registry.find_reader(path)
    return found


def _header_fields(header: MapHeader) -> dict[str, Any]:
    return {
        "name": header.name,
        "shape": list(header.shape),
        "channels": header.channels,
        "energy_offset": header.energy_offset,
        "energy_scale": header.energy_scale,
        "pixel_size": header.pixel_size,
        "attrs": header.attrs,
        "images": list(header.images),
        "vendor_metadata": header.vendor_metadata,
        "expected_total": header.expected_total,
        "total_is_exact": header.total_is_exact,
        "unverified": header.unverified,
        "remarks": list(header.remarks),
        "frames": header.frames,
        "frame_images": list(header.frame_images),
        "dtype_max": header.dtype_max,
    }


def _die_with(parent: int) -> None:
    """Let the kernel kill us when the parent ends for any reason."""
    prctl = getattr(c_library(), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:  # no such call: check every second
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    if os.getppid() != parent and not WINDOWS:  # it ended before this call
        os._exit(1)


def _end_with(parent: int) -> None:
    while process_lives(parent):
        time.sleep(1.0)
    os._exit(1)


class _Watch:
    """Ends this process when a step has used its processor time; for systems without ``RLIMIT_CPU``."""

    def __init__(self) -> None:
        self._end = float("inf")
        self._thread: threading.Thread | None = None

    def allow(self, seconds: float) -> None:
        """Allow the next step this much more."""
        self._end = time.process_time() + seconds + 1
        if self._thread is None:
            self._thread = threading.Thread(target=self._look, daemon=True)
            self._thread.start()

    def _look(self) -> None:
        while time.process_time() < self._end:
            time.sleep(0.2)
        os._exit(OUT_OF_TIME)


_watch = _Watch()


def _limit_memory(limit: int) -> None:
    resource = resource_module()
    if resource is None or not sys.platform.startswith("linux"):
        return  # macOS accepts the limit and does not enforce it
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
