"""The place a store is written to: its lock, its plan, and the swap that makes it appear at once.

While ``map.zarr`` is written, everything is in ``map.zarr.partial`` beside it:

- ``lock``: held as long as the writer runs; the system releases it even if the writer is killed
- ``plan.json``: what is being written, from what; resume works only with the same plan
- ``journal/``: the finished bands
- ``store/``: the store itself, renamed to ``map.zarr`` at the very end
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import logging
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from edxdask.errors import (
    ForeignStoreError,
    ParameterError,
    StoreBusyError,
    StoreExistsError,
    StoreWriteError,
)
from edxdask.portable import WINDOWS, c_library, lock, say_once, sync_file, sync_folder
from edxdask.schema import FORMAT_KEY, FORMAT_NAME

logger = logging.getLogger(__name__)

_LOCK, _PLAN, _JOURNAL, _STORE, _SCRATCH = "lock", "plan.json", "journal", "store", "scratch"
_OWN = {_LOCK, _PLAN, _JOURNAL, _STORE, _SCRATCH, _PLAN + ".tmp"}
_BANDS = "bands of the current map"
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fs.h


def partial_path(out: Path) -> Path:
    """Folder that holds an unfinished store.

    Examples
    --------
    >>> partial_path(Path("maps/a.zarr")).name
    'a.zarr.partial'
    """
    return out.with_name(out.name + ".partial")


def read_plan(folder: Path) -> dict[str, Any] | None:
    """Plan of an unfinished store in ``folder``, None where there is none."""
    try:
        plan = json.loads((folder / _PLAN).read_text())
    except (OSError, ValueError):
        return None
    return plan if isinstance(plan, dict) else None


def is_partial(folder: Path) -> bool:
    """Whether ``folder`` is an unfinished store of this package."""
    try:
        return {p.name for p in folder.iterdir()} <= _OWN
    except NotADirectoryError:
        return False
    except FileNotFoundError:  # its writer has just finished
        return True


def is_ours(path: Path) -> bool:
    """Whether ``path`` is a store of this package, complete or not."""
    try:
        attributes = json.loads((path / "zarr.json").read_text(encoding="utf-8")).get("attributes", {})
    except (OSError, ValueError, AttributeError):
        return False
    return isinstance(attributes, dict) and attributes.get(FORMAT_KEY) == FORMAT_NAME


class Target:
    """Exclusive right to write one store; a context manager.

    Parameters
    ----------
    out
        Where the store will appear.
    identity
        What is written, from what; JSON. Resume needs an equal one.
    hint
        What to run to continue, for messages.
    resume, overwrite
        Continue an unfinished store; replace a finished one (once the new one is complete).

    Attributes
    ----------
    complete : an earlier writer was killed after its store had appeared; only ``commit`` is left to do
    """

    def __init__(
        self, out: Path, *, identity: dict[str, Any], hint: str, resume: bool, overwrite: bool
    ) -> None:
        self.out, self.hint = out, hint
        self.partial = partial_path(out)
        self.store, self.scratch = self.partial / _STORE, self.partial / _SCRATCH
        self._identity: dict[str, Any] = json.loads(json.dumps(identity))
        self._resume, self._overwrite = resume, overwrite
        self._lock: int | None = None
        self.complete = False
        self._done, self._of, self._what = 0, 0, _BANDS

    def __enter__(self) -> Target:
        self._check_out()
        with self.writing():
            if self.partial.exists() and not is_partial(self.partial):
                raise ForeignStoreError(
                    f"{self.partial} is needed for unfinished data but holds something else: move it away"
                )
            self._acquire()
        try:
            self._check_out()  # another writer may have finished meanwhile
            with self.writing():
                self._prepare()
        except BaseException:
            self._tidy()
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not any(self.partial.glob(f"{_JOURNAL}/*/*.npz")):
            self._clear()  # nothing was finished: there is nothing to keep
            self._tidy()
        self._release()
        if isinstance(error, KeyboardInterrupt):
            note = f"Stopped; {self.safe()}. Continue with: {self.hint}"
            logger.warning(note)
            error.add_note(note)

    def journal(self, name: str) -> Path:
        """Folder of the finished bands of map ``name``."""
        return self.partial / _JOURNAL / f"map-{name}"

    def finished(self, name: str, done: int, of: int, *, what: str = _BANDS) -> None:
        """Record how many bands, or other parts, are safe, for messages."""
        self._done, self._of, self._what = done, of, what

    def safe(self) -> str:
        """How much is safe, in words."""
        if not self._of:
            return "nothing was finished yet"
        return f"{self._done} of {self._of} {self._what} are safe in {self.partial}"

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turn errors of the operating system while writing into ``StoreWriteError``."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            fix = (
                "Free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "Fix that"
            )
            raise StoreWriteError(
                f"{self.out} could not be written: {reason}; {self.safe()}. "
                f"{fix}, then continue with: {self.hint}"
            ) from error

    def commit(self) -> None:
        """Make the store appear at ``out``; the one it replaces is removed only then."""
        with self.writing():
            if not self.complete:
                self._settle()
                self._swap()
            self._clear()
        self._tidy()

    def _swap(self) -> None:
        if self.out.exists():
            # Without its plan a folder is never resumed: after the exchange it holds the old store.
            (self.partial / _PLAN).unlink()
            _exchange(self.store, self.out)
        else:
            self.store.rename(self.out)
        sync_folder(self.out.parent)

    def _settle(self) -> None:
        """Remove what an interrupted write left in the store, and force its small files to disk."""
        for folder, _, names in os.walk(self.store):
            for name in names:
                path = Path(folder, name)
                if name.endswith(".partial"):  # zarr's name for a file that it has not renamed yet
                    path.unlink()
                elif not name.startswith("c."):  # chunks of counts were synced when they were written
                    sync_file(path)
            sync_folder(Path(folder))

    def _check_out(self) -> None:
        if not self.out.parent.is_dir():
            raise ParameterError(
                "out", str(self.out), "a path in a folder that exists", f"mkdir -p '{self.out.parent}'"
            )
        if not os.path.lexists(self.out):
            return
        if not is_ours(self.out):
            raise ForeignStoreError(
                f"{self.out} exists and is not a store of edxdask, so it is left alone: choose another name"
            )
        plan = read_plan(self.partial)
        if self._resume and plan is not None and not self.store.exists():
            self.complete = plan.get("identity") == self._identity
        if self._resume and plan is not None:
            self._overwrite |= plan.get("overwrite") is True  # it was given when this was begun
        if not self._overwrite and not self.complete:
            raise StoreExistsError(
                f"{self.out} exists: choose another name, or pass overwrite=True (--overwrite)"
            )

    def _acquire(self) -> None:
        path = self.partial / _LOCK
        while self._lock is None:
            self.partial.mkdir(exist_ok=True)
            try:
                handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            except FileNotFoundError:
                continue  # the writer before us has just cleared its folder
            try:
                lock(handle)
            except BlockingIOError:
                owner = os.read(handle, 200).decode(errors="replace") or "another process"
                os.close(handle)
                raise StoreBusyError(f"{self.out} is being written by {owner}: wait for it to end") from None
            except OSError as error:  # Lustre mounted without flock
                say_once(f"stores in {self.out.parent} cannot be locked ({error}): start no second writer")
            if _is_same_file(handle, path):
                self._lock = handle
            else:
                os.close(handle)
        os.ftruncate(self._lock, 0)
        os.write(self._lock, f"process {os.getpid()} on {socket.gethostname()}".encode())

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _tidy(self) -> None:
        """Remove the folder if nothing but our lock is left in it."""
        if {p.name for p in self.partial.iterdir()} == {_LOCK}:
            if WINDOWS:  # Windows removes no open file; if another process has opened this one, it stays
                self._release()
            with contextlib.suppress(OSError):  # another process has just begun to write there
                (self.partial / _LOCK).unlink()
                self.partial.rmdir()

    def _prepare(self) -> None:
        if self.complete:
            return
        plan = read_plan(self.partial)
        if plan is not None and self.store.is_dir():
            if self._resume:
                self._check_identity(plan.get("identity", {}))
                return
            if not self._overwrite:
                raise StoreExistsError(
                    f"{self.partial} holds an unfinished store: resume=True (--resume) continues it, "
                    "overwrite=True (--overwrite) starts again"
                )
        self._clear()
        self.store.mkdir()
        scratch = self.partial / (_PLAN + ".tmp")
        scratch.write_text(
            json.dumps({"hint": self.hint, "overwrite": self._overwrite, "identity": self._identity})
        )
        scratch.replace(self.partial / _PLAN)

    def _check_identity(self, before: dict[str, Any]) -> None:
        if before == self._identity:
            return
        keys = sorted(before.keys() | self._identity.keys())
        odd = [k for k in keys if before.get(k) != self._identity.get(k)]
        detail = "; ".join(f"{k} was {before.get(k)!r}, is {self._identity.get(k)!r}" for k in odd)
        raise ParameterError(
            "resume",
            True,
            f"the source and options that {self.partial} was begun with ({detail})"[:2000],
            "Start again with overwrite=True (--overwrite), or give the first source and options.",
        )

    def _clear(self) -> None:
        """Remove everything but the lock, the plan first: without it nothing can be resumed by mistake."""
        (self.partial / _PLAN).unlink(missing_ok=True)
        for path in self.partial.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != _LOCK:
                path.unlink()


def _is_same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _exchange(new: Path, old: Path) -> None:
    """Swap two folders in one step (renameat2), or in two where the system has no such call."""
    call = getattr(c_library(), "renameat2", None)
    if call is not None:
        done = call(_AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(old), _RENAME_EXCHANGE)
        if done == 0:
            return
        code = ctypes.get_errno()
        if code not in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
            raise OSError(code, os.strerror(code), str(old))
    aside = old.with_name(old.name + ".old")  # if we are killed between the two, the old store is still there
    old.rename(aside)
    new.rename(old)
    shutil.rmtree(aside)
