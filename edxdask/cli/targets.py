"""Where a result may go: checked before hours of work, not after."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edxdask.errors import (
    ForeignStoreError,
    MissingStoreError,
    ParameterError,
    StoreBusyError,
    StoreExistsError,
)
from edxdask.portable import WINDOWS, lock, say_once

FIGURES = (".png", ".pdf", ".svg")


def check_target(out: str, source: str, *, overwrite: bool) -> None:
    """Refuse a target that cannot be written, or that holds what the result is made from.

    Raises
    ------
    ParameterError
        If it is the source itself, or its folder does not exist.
    StoreExistsError
        If it exists and may not be replaced.
    ForeignStoreError
        If it exists and is not a store.
    """
    from edxdask.io.target import is_ours

    target = Path(out)
    if target.resolve() == Path(source).resolve():
        raise ParameterError("out", out, "another path than that of the data, which would be lost")
    if not target.absolute().parent.is_dir():
        raise ParameterError(
            "out", out, "a path in a folder that exists", f"mkdir -p {str(target.absolute().parent)!r}"
        )
    if not target.exists():
        return
    if not overwrite:
        raise StoreExistsError(
            f"{out}: exists already; --overwrite replaces it, or give another path with --out"
        )
    if not is_ours(target):
        raise ForeignStoreError(
            f"{out}: exists and is not a store of edxdask, so it is left alone: give another path"
        )


def check_file(option: str, path: str, suffixes: tuple[str, ...], *, overwrite: bool) -> None:
    """Refuse a table or figure that cannot be written before minutes of reading, not after."""
    target = Path(path)
    if target.suffix.lower() not in suffixes:
        raise ParameterError(option, path, f"a file that ends in {', '.join(suffixes)}")
    if not target.absolute().parent.is_dir():
        raise MissingStoreError(f"{path}: its folder does not exist")
    if target.exists() and not overwrite:
        raise ParameterError(option, path, "a file that does not exist yet", "--overwrite replaces it.")


@contextmanager
def claimed(out: str) -> Iterator[None]:
    """Keep a second run from writing to the same target; a killed run frees it."""
    path = Path(f"{out}.lock")
    try:
        opened = path.open("w")
    except OSError as error:
        fix = "Choose a folder that exists and that you may write to."
        expected = f"a path whose folder can be written to ({error.strerror})"
        raise ParameterError("out", out, expected, fix) from error
    with opened as file:
        try:
            lock(file.fileno())
        except BlockingIOError as error:
            raise StoreBusyError(
                f"{out}: another run is writing to it now ({path} is locked): wait, or give another path"
            ) from error
        except OSError as error:  # Lustre mounted without flock
            say_once(f"{path} cannot be locked ({error}): start no second run with the same target")
        try:
            yield
        finally:
            if WINDOWS:  # Windows removes no open file; if another run has opened this one, it stays
                file.close()
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
