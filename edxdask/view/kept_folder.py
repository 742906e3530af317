"""Where the viewer keeps what it made of a store, and how it knows that it is of these very counts."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from edxdask.io.grid import ChunkGrid
from edxdask.io.manifest import Manifest
from edxdask.io.target import is_ours
from edxdask.schema import COUNTS

logger = logging.getLogger(__name__)

_CHECKSUM = 4  # bytes of crc32c at the end of each chunk of a store
_SPARE = 1 << 30  # bytes of a disk that stay free
_NOTE = "Made by `edxdask view` from the store beside it, to show it faster. It may be deleted at any time.\n"


def fingerprint_of(folder: Path, grid: ChunkGrid, manifest: Manifest) -> bytes:
    """Digest (32 bytes) of the counts: the checksums at the ends of all chunks; nothing else is read.

    A store that is replaced, or a file of it, has another one. Reads run side by side.
    """
    digest = hashlib.sha256(repr((grid.pixels, grid.channels)).encode())
    digest.update(np.ascontiguousarray(manifest.photons).tobytes())
    full = np.argwhere(manifest.photons > 0)
    names = [grid.file_name(grid.index(int(band), int(column))) for band, column in full]
    with ThreadPoolExecutor(8) as pool:
        for checksum in pool.map(lambda name: _last_bytes(folder / COUNTS / name), names):
            digest.update(checksum)
    return digest.digest()


def _last_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _CHECKSUM))
        return file.read() + size.to_bytes(8, "little")


def kept_folder(store: Path, fingerprint: bytes, needed: int) -> Path | None:
    """Folder for what is made of a map, beside its store; in the user's cache where that cannot be written.

    Parameters
    ----------
    store : Path
        Folder of the map.
    fingerprint : bytes
        Of its counts: the folder of other counts has another name.
    needed : int
        Bytes that will be written.

    Returns
    -------
    Path or None
        None where no disk has the room.
    """
    name = fingerprint.hex()[:16]
    for home in (_beside(store), _in_cache(store)):
        if (home / name).is_dir() and os.access(home / name, os.W_OK):
            return home / name
        if _writable(home, needed):
            (home / name).mkdir(exist_ok=True)
            return home / name
    logger.warning(
        "%s: no disk has %.1f GB free for what makes line maps fast, so each reads the counts",
        store,
        needed / 1e9,
    )
    return None


def _beside(store: Path) -> Path:
    root = store
    while is_ours(root.parent):
        root = root.parent
    return root.parent / f"{root.name}.view" / store.relative_to(root)


def _in_cache(store: Path) -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(cache) / "edxdask" / "view" / hashlib.sha256(str(store).encode()).hexdigest()[:16]


def _writable(home: Path, needed: int) -> bool:
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            pass
        (home / "README.txt").write_text(_NOTE, encoding="utf-8")
        return shutil.disk_usage(home).free > needed + _SPARE
    except OSError:
        return False


def remove_stale(folder: Path) -> None:
    """Remove what was made of counts that this store no longer holds."""
    for other in folder.parent.iterdir():
        is_name = len(other.name) == len(folder.name) and set(other.name) <= set("0123456789abcdef")
        if other.is_dir() and other != folder and is_name:
            shutil.rmtree(other, ignore_errors=True)
