"""Files in and out: the store, vendor readers, streaming ingest, export.

Names load on first use: the child process that reads a vendor file imports this package and must stay small.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edxdask.io.arrays import from_array
    from edxdask.io.ingest import ingest
    from edxdask.io.manifest import Manifest
    from edxdask.io.save import save
    from edxdask.io.store import StoreInfo, manifest_of, open_store, store_info, store_of
    from edxdask.io.verify import checksum, verify

_HOMES = {
    "Manifest": "edxdask.io.manifest",
    "StoreInfo": "edxdask.io.store",
    "checksum": "edxdask.io.verify",
    "from_array": "edxdask.io.arrays",
    "ingest": "edxdask.io.ingest",
    "manifest_of": "edxdask.io.store",
    "open_store": "edxdask.io.store",
    "save": "edxdask.io.save",
    "store_info": "edxdask.io.store",
    "store_of": "edxdask.io.store",
    "verify": "edxdask.io.verify",
}
__all__ = [
    "Manifest",
    "StoreInfo",
    "checksum",
    "from_array",
    "ingest",
    "manifest_of",
    "open_store",
    "save",
    "store_info",
    "store_of",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    """Keeps ``edxdask.io.ingest`` the function: importing the module of that name must not replace it."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
