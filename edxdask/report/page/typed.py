"""A step of the work as it is typed, in the shell and in Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Step:
    """One step of the work.

    Attributes
    ----------
    command : as it is typed; a comment where the command line has no such step
    python : the same in Python
    """

    command: str
    python: str


def typed_option(key: str, value: Any) -> list[str]:
    """Give an option as it is typed; one for each phase of what phases cannot hold.

    Examples
    --------
    >>> typed_option("absent", {"Fp": ["Si", "Ca"]}), typed_option("keep_axis", True)
    (['--absent', 'Fp:Si,Ca'], ['--keep-axis'])
    """
    option = f"--{key.replace('_', '-')}"
    if isinstance(value, Mapping):
        parts = ((of, [what] if isinstance(what, str) else list(what)) for of, what in value.items())
        return [word for of, what in parts for word in (option, f"{of}:{','.join(map(str, what))}")]
    if isinstance(value, list | tuple):
        return [option, ",".join(map(str, value))]
    if isinstance(value, bool):
        return [option] if value else []
    return [option, str(value)]
