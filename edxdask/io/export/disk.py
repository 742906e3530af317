"""A file that HDF5 may write to on a disk that fills up.

HDF5 cannot close a file when its flush fails: it returns an error to the caller, keeps the half-closed
file, and crashes the process when that is torn down. Here a failed write is kept as an error for us, and HDF5
is answered that it is done, so that it closes in order; the file is deleted afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


class GuardedFile:
    """What h5py's driver for Python files needs; after the first failure nothing is written any more."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def check(self) -> None:
        """Raise the failure that was kept, if there was one."""
        if self.error is not None:
            raise self.error

    def write(self, data: Any) -> int:
        """Write all of ``data``, or keep the error."""
        view = memoryview(data).cast("B")
        done = 0
        try:
            while self.error is None and done < len(view):
                done += self._file.write(view[done:])
        except OSError as error:
            self.error = error
        return len(view)

    def read(self, size: int = -1) -> bytes:
        """Read as files do; h5py distinguishes a file from a path by this."""
        return self._file.read(size)

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer``; with zeros what was never written."""
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and (chunk := self._file.read(len(view) - done)):
            view[done : done + len(chunk)] = chunk
            done += len(chunk)
        view[done:] = bytes(len(view) - done)
        return len(view)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a place in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Place in the file."""
        return self._file.tell()

    def truncate(self, size: int) -> int:
        """Set the length of the file, or keep the error."""
        try:
            self._file.truncate(size)
        except OSError as error:
            self.error = self.error or error
        return size

    def flush(self) -> None:
        """Do nothing: the file is not buffered."""


@contextmanager
def guarded(path: Path) -> Iterator[GuardedFile]:
    """Open ``path`` for h5py; when the block is left, raise the disk's error, not its consequences."""
    with path.open("r+b", buffering=0) as raw:
        file = GuardedFile(raw)
        try:
            yield file
        except Exception:
            file.check()
            raise
        file.check()
