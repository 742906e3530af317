"""What Linux, macOS and Windows do differently, each behind one name: locks, folders, limits, processes.

Linux is where all of it holds. Elsewhere the same calls do what the system can, and say so once in the log
where that is less.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
from pathlib import Path
from types import ModuleType
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]
try:
    import msvcrt
except ImportError:  # all but Windows
    msvcrt = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

WINDOWS = os.name == "nt"
_LOCKED_BYTE = 1 << 30  # Windows forbids others to read a locked byte: one beyond all that is written


def resource_module() -> ModuleType | None:
    """Return Python's ``resource``, None where the system has none."""
    return resource


def lock(handle: int) -> None:
    """Lock an open file for this process alone, until the handle is closed or the process ends.

    Raises
    ------
    BlockingIOError
        If another process holds it.
    OSError
        If the file system cannot lock.
    """
    if fcntl is not None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    if msvcrt is None:
        raise OSError("this Python has no file locks")
    before = os.lseek(handle, 0, os.SEEK_CUR)
    os.lseek(handle, _LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
    except OSError as error:  # Windows gives one error for all reasons
        raise BlockingIOError(error.errno, "another process holds the lock") from error
    finally:
        os.lseek(handle, before, os.SEEK_SET)


def sync_folder(folder: Path) -> None:
    """Force a folder's entries to disk, so that a rename in it outlives a power cut.

    Windows opens no folders; NTFS keeps its own journal of renames.
    """
    if WINDOWS:
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Force the content of a finished file to disk."""
    with path.open("r+b" if WINDOWS else "rb") as file:  # Windows syncs only what may be written
        os.fsync(file.fileno())


def process_lives(pid: int) -> bool:
    """Whether a process of this number runs on this machine.

    Examples
    --------
    >>> process_lives(os.getpid())
    True
    """
    import psutil

    return bool(psutil.pid_exists(pid))


@functools.cache
def c_library() -> Any:
    """Return the C library of this process, None on Windows, where programs have several."""
    return None if WINDOWS else ctypes.CDLL(None, use_errno=True)


def read_at(handle: int, length: int, offset: int) -> bytes:
    """Read bytes at an offset; the file has one reader at a time where the system cannot do both in one."""
    if hasattr(os, "pread"):
        return os.pread(handle, length, offset)
    os.lseek(handle, offset, os.SEEK_SET)
    return os.read(handle, length)


@functools.cache
def say_once(message: str) -> None:
    """Log a warning, the first time only."""
    logger.warning(message)
