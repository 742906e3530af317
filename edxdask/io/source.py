"""Which file a store was made from: what resume compares, and the checksum that stays in the store."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

# Formats with the counts in another file than the one that is given.
# A suffix, or a pattern behind the file's stem, or (with a star first) a pattern below its folder.
_COMPANIONS = {
    ".rpl": (".raw", ".RAW"),
    ".spd": (".spc", "_Img.ipr"),
    ".emi": ("_*.ser",),
    ".asw": ("**/*.pts",),
}
_PIECE = 1 << 22


def companions(path: Path) -> list[Path]:
    """Files beside ``path`` that belong to it."""
    folder = path.parent
    found: list[Path] = []
    for ending in _COMPANIONS.get(path.suffix.lower(), ()):
        if ending.startswith("."):
            found += [p for p in [path.with_suffix(ending)] if p.exists()]
        else:
            found += folder.glob(ending if ending.startswith("*") else f"{path.stem}{ending}")
    return sorted(set(found))


def identity_of(path: Path) -> list[dict[str, Any]]:
    """Name, size and time of change of a file and those that belong to it."""
    return [
        {"path": str(p.resolve()), "size": p.stat().st_size, "mtime_ns": p.stat().st_mtime_ns}
        for p in [path, *companions(path)]
    ]


class BackgroundHash:
    """SHA-256 of a file, computed beside the decoding; a context manager; the work ends with its block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._digest = hashlib.sha256()
        self._stop = threading.Event()
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="edxdask-sha256", daemon=True)

    def __enter__(self) -> BackgroundHash:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def hexdigest(self) -> str:
        """Checksum; waits for it. Raises what the reading raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._digest.hexdigest()

    def _run(self) -> None:
        try:
            if self.path.is_file():
                with self.path.open("rb") as file:
                    while not self._stop.is_set() and (piece := file.read(_PIECE)):
                        self._digest.update(piece)
        except OSError as error:
            self._error = error
