"""Puts ``.edx`` on xarray's objects without loading xarray, or the operations before their first use.

``import edxdask`` must stay quick (the shell completes words with it) and must be enough for ``ds.edx``,
whichever of the two packages is imported first. So if xarray is not there yet, its import is awaited.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_NAME = "edx"


def register_accessors() -> None:
    """Register ``.edx`` now if xarray is loaded, else when it will be."""
    xarray = sys.modules.get("xarray")
    if xarray is None:
        sys.meta_path.insert(0, _AwaitXarray())
    else:
        _register(xarray)


def _register(xarray: ModuleType) -> None:
    xarray.register_dataset_accessor(_NAME)(_accessor)
    xarray.register_datatree_accessor(_NAME)(_accessor)


def _accessor(data: Any) -> Any:
    return importlib.import_module("edxdask.accessor").Accessor(data)


class _AwaitXarray(MetaPathFinder):
    """Lets every import pass; after xarray's, registers the accessors."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "xarray":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _register(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
