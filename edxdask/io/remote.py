"""Our side of the child process that reads a vendor file: limits, time, and one error for all failures."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import numpy as np

from edxdask.budget import available_memory
from edxdask.errors import ParameterError, VendorFileError
from edxdask.io import wire
from edxdask.io.child import Child, get_child, keep
from edxdask.io.headers import block_of, header_of
from edxdask.io.vendor.base import MapHeader, ReadOptions
from edxdask.io.wire import OUT_OF_TIME
from edxdask.photons import PhotonBlock
from edxdask.portable import resource_module, say_once

logger = logging.getLogger(__name__)

SECONDS_VARIABLE, MEMORY_VARIABLE = "EDXDASK_READER_SECONDS", "EDXDASK_READER_MEMORY_GIB"
_CLOCK_FACTOR = 4  # time by the clock for each second of processor time, on a busy machine
_WINDOWS_CRASH = 0xC0000000  # NTSTATUS of severity "error", such as 0xC0000005 for a wrong address
_STAGE_OPEN, _STAGE_HEADER = "opening", "reading the header"


@dataclass(frozen=True)
class Limits:
    """What a reader may use.

    Attributes
    ----------
    cpu_seconds : processor time for one step: opening, a header, a band
    memory_bytes : of the child process
    """

    cpu_seconds: float
    memory_bytes: int

    @classmethod
    def for_file(cls, path: Path) -> Limits:
        """Limits that suit a file's size and this machine; environment variables change them."""
        size = path.stat().st_size if path.is_file() else 0
        seconds = _from_environment(SECONDS_VARIABLE) or 60 + size / 1e6
        memory = _from_environment(MEMORY_VARIABLE)
        # 73 B per event and 200 times the file were measured; more than the machine has is useless
        most = max(4 << 30, 64 * size)
        limit = int(memory * 2**30) if memory else min(most, max(1 << 30, int(0.8 * available_memory())))
        return cls(seconds, limit)


def _from_environment(name: str) -> float | None:
    text = os.environ.get(name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise ParameterError(name, text, "a number above 0")
    return value


def _say_what_is_weaker() -> None:
    """Warn once if this system cannot limit the process that reads a file."""
    if resource_module() is None:
        say_once(
            "this system has no limits for processes: a damaged vendor file may take all memory before it is "
            "stopped; only its processor time is limited"
        )
    elif not sys.platform.startswith("linux"):
        say_once("this system has no limit for memory: a damaged vendor file may take all of it")


class RemoteReader:
    """A vendor file, open in a child process; a context manager.

    Parameters
    ----------
    path
        The file.
    options
        What to read of it.
    limits
        What the child may use; None finds them from the file and the machine.
    reader
        "module:attribute" of the reader; None finds it from the file's content.
    """

    def __init__(
        self, path: Path, options: ReadOptions, *, limits: Limits | None = None, reader: str | None = None
    ) -> None:
        self.path, self.options = path, options
        self.limits = limits or Limits.for_file(path)
        self._spec = reader
        self._waits = False  # the child has done all requests

    def __enter__(self) -> RemoteReader:
        _say_what_is_weaker()
        # the state of a child after a caller's own reader is unknown
        self._start(get_child() if self._spec is None else Child())
        try:
            self._open()
        except BaseException:
            self._child.stop()
            raise
        return self

    def _open(self) -> None:
        try:
            self._read_headers()
        except VendorFileError:
            if not self._child.used:
                raise
            self._child.stop()  # what it has read before must not make a good file fail
            self._start(Child())
            self._read_headers()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and self._waits and self._spec is None:
            keep(self._child)
        else:
            self._child.stop()

    def bands(self, number: int, rows: int, skip: Collection[int] = ()) -> Iterator[tuple[int, PhotonBlock]]:
        """Yield first row and photons of every band of map ``number``, but for first rows in ``skip``.

        The child decodes the next band only when the previous one is finished.
        """
        header = self.headers[number]
        awaited = [first for first in range(0, header.shape[0], rows) if first not in skip]
        self._waits = False
        self._say("bands", {"map": number, "rows": rows, "skip": sorted(skip)})
        while True:
            if awaited:
                self.stage = f"decoding rows {awaited[0]}-{min(awaited[0] + rows, header.shape[0]) - 1}"
            message = self._next("band", "end")
            if message.kind == "end":
                break
            first: Any = message.fields.get("first")
            if first not in awaited:
                self.fail(f"it sent rows from {first}, which were not requested")
            height = min(rows, header.shape[0] - first)
            try:
                block = block_of(message, header, height * header.shape[1])
            except ValueError as error:
                self.fail(str(error))
            awaited.remove(first)
            yield first, block
            self._say("next", {})
        if awaited:
            self.fail("it ended without these rows")
        self._waits = True

    def frame_rows(self, number: int, frames: tuple[int, int], rows: tuple[int, int]) -> PhotonBlock:
        """Photons of some rows of map ``number``, summed over some of its frames."""
        header = self.headers[number]
        self.stage = f"decoding frames {frames[0]}-{frames[1] - 1}"
        message = self._ask("frames", "photons", {"map": number, "frames": frames, "rows": rows})
        try:
            return block_of(message, header, (rows[1] - rows[0]) * header.shape[1])
        except ValueError as error:
            self.fail(str(error))

    def frame_image(self, number: int, name: str, frame: int) -> np.ndarray:
        """One frame of a scanned image of map ``number``."""
        self.stage = f"reading frame {frame} of image {name}"
        message = self._ask("image", "image", {"map": number, "name": name, "frame": frame})
        if len(message.arrays) != 1 or message.arrays[0].shape != self.headers[number].shape:
            self.fail(f"it sent no image of {self.headers[number].shape} pixels")
        return message.arrays[0]

    def _ask(self, kind: str, answer: str, fields: dict[str, Any]) -> wire.Message:
        """Send one request and wait for its answer."""
        self._waits = False
        self._say(kind, fields)
        message = self._next(answer)
        self._waits = True
        return message

    def fail(self, reason: str, *, stage: str | None = None, cause: BaseException | None = None) -> NoReturn:
        """Raise the one error."""
        raise VendorFileError(self.path, self.reader, stage or self.stage, reason + self._refused) from cause

    def _start(self, child: Child) -> None:
        self._child, self._expired = child, False
        self.reader, self.stage = "vendor", _STAGE_OPEN
        self.headers: list[MapHeader] = []
        self._refused = ""  # why another reader, tried before this one, did not read the file
        self._say(
            "open",
            {
                "path": str(self.path.absolute()),
                "reader": self._spec,
                "frames": self.options.frames,
                "detectors": self.options.detectors,
                "memory_bytes": self.limits.memory_bytes,
                "cpu_seconds": self.limits.cpu_seconds,
            },
        )

    def _read_headers(self) -> None:
        self.reader = str(self._next("reader").fields.get("name"))
        message = self._next("opened", "fallback")
        if message.kind == "fallback":
            reason, decoder = message.fields.get("reason"), message.fields.get("reader")
            self._refused = f"; the {self.reader} reader does not know its structure: {reason}"
            self.reader = str(decoder)
            message = self._next("opened")
        number: Any = message.fields.get("maps")
        self.stage = _STAGE_HEADER
        if not isinstance(number, int) or number < 1:
            self.fail("the file holds no spectrum map")
        for _ in range(number):
            try:
                self.headers.append(header_of(self._next("header")))
            except ValueError as error:
                self.fail(str(error), cause=error)
        for header in self.headers:
            # the 64 rows of a band must fit the child and us, before a photon is counted
            if 64 * header.shape[1] * 8 > self.limits.memory_bytes:
                self.fail(f"the map is said to be {header.shape[1]} pixels wide")
        self._waits = True

    def _say(self, kind: str, fields: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # a dead child is found out, with its reason, by the next receive
            wire.send(self._child.connection, kind, fields)

    def _next(self, *kinds: str) -> wire.Message:
        """Next message, which must be one of ``kinds``."""
        timer = threading.Timer(self.limits.cpu_seconds * _CLOCK_FACTOR, self._expire)
        timer.daemon = True
        timer.start()
        try:
            message = wire.receive(self._child.connection, max_bytes=self.limits.memory_bytes)
        except EOFError as error:
            self.fail(self._cause_of_death(), cause=error)
        except (wire.WireError, MemoryError) as error:
            self.fail(str(error) or "it sent more than fits in memory", cause=error)
        finally:
            timer.cancel()
        if message.kind == "error":
            self._raise_told(message.fields)
        if message.kind not in kinds:
            self.fail(f"it sent {message.kind!r} out of order")
        return message

    def _expire(self) -> None:
        self._expired = True
        self._child.process.kill()

    def _raise_told(self, fields: dict[str, Any]) -> None:
        self.reader = str(fields.get("reader", self.reader))
        reason = str(fields.get("reason"))
        if fields.get("memory"):
            gib = self.limits.memory_bytes / 2**30
            reason = f"it needs more than {gib:.1f} GiB of memory; {MEMORY_VARIABLE}=… raises that limit"
        self.fail(reason, stage=str(fields.get("stage", self.stage)))

    def _cause_of_death(self) -> str:
        try:
            status = self._child.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return "it hung up"
        if self._expired or status in (OUT_OF_TIME, -getattr(signal, "SIGXCPU", -OUT_OF_TIME)):
            limit = self.limits.cpu_seconds
            used = f"{limit * _CLOCK_FACTOR:.0f} s" if self._expired else f"{limit:.0f} s of processor time"
            return f"no result after {used}; {SECONDS_VARIABLE}=… raises the limit of {limit:.0f} s"
        if status == -getattr(signal, "SIGKILL", 0):
            return "it was killed (SIGKILL), most likely because the machine ran out of memory"
        if status < 0:
            return f"it crashed ({signal.Signals(-status).name})"
        if status >= _WINDOWS_CRASH:
            return f"it crashed ({status:#x})"
        return f"it ended with exit status {status}"
