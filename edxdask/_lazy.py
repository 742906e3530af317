"""Packages whose names load on first use."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any


class LazyPackage(ModuleType):
    """A package that imports a name's module when the name is first used.

    A module that is public itself has its own place as its home (``"figures": "edxdask.figures"``).
    Another module may be called like the function it offers (``edxdask.simulate``, ``edxdask.io.ingest``):
    the import of it would put it in the function's place, and must not.
    """

    _homes: Mapping[str, str]

    def __getattr__(self, name: str) -> Any:
        if name not in self._homes:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        home = importlib.import_module(self._homes[name])
        value = home if self._is_public(name, home) else getattr(home, name)
        setattr(self, name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        hides = name in self._homes and isinstance(value, ModuleType) and not self._is_public(name, value)
        if not hides:
            super().__setattr__(name, value)

    def _is_public(self, name: str, module: ModuleType) -> bool:
        """Whether the name means this module, and nothing in it."""
        return f"{self.__name__}.{name}" == self._homes[name] == module.__name__ and name not in vars(module)

    def __dir__(self) -> Iterable[str]:
        return sorted({*self.__dict__, *self._homes})


def load_on_first_use(package: str, homes: Mapping[str, str]) -> None:
    """Let every name in ``homes`` load from the module given there."""
    module = sys.modules[package]
    module.__dict__["_homes"] = homes
    module.__class__ = LazyPackage
