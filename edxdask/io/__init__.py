"""Files in and out: the store, vendor readers, streaming ingest, export.

Names load on first use: the child process that reads a vendor file imports this package and must stay small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edxdask._lazy import load_on_first_use

if TYPE_CHECKING:
    from edxdask.io.arrays import from_array
    from edxdask.io.diagnose import diagnose
    from edxdask.io.manifest import Manifest
    from edxdask.io.save import save
    from edxdask.io.store import StoreInfo, manifest_of, open_store, store_info
    from edxdask.io.verify import checksum, verify

_HOMES = {
    "Manifest": "edxdask.io.manifest",
    "StoreInfo": "edxdask.io.store",
    "checksum": "edxdask.io.verify",
    "diagnose": "edxdask.io.diagnose",
    "from_array": "edxdask.io.arrays",
    "manifest_of": "edxdask.io.store",
    "open_store": "edxdask.io.store",
    "save": "edxdask.io.save",
    "store_info": "edxdask.io.store",
    "verify": "edxdask.io.verify",
}
__all__ = [
    "Manifest",
    "StoreInfo",
    "checksum",
    "diagnose",
    "from_array",
    "manifest_of",
    "open_store",
    "save",
    "store_info",
    "verify",
]


load_on_first_use(__name__, _HOMES)
