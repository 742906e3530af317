"""What the library says, in the words of the command line: parameters become options of the verb.

The library names its parameters as Python does: ``elements=['Mg', 'Si']``, ``ds.attrs['beam_energy_kev'] =
200.0``. Here, and nowhere else, that becomes what can be typed: ``--elements Mg,Si``, ``--beam-energy 200``.
An error whose advice is not a parameter brings the sentence for the command line itself (``typed_fix``).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any

import click

from edxdask import schema
from edxdask.cli.values import Value, typed
from edxdask.errors import EdxdaskError, ParameterError

# parameter or attribute of the library: options of that meaning under another name, first that the verb has
OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    schema.BEAM_ENERGY: ("beam_energy",),
    schema.DENSITY: ("density",),
    schema.ELEVATION: ("elevation",),
    schema.THICKNESS: ("thickness",),
    "bin": ("factor",),
    "cross_sections": ("factors",),
    "data": ("store", "result"),
    "dim": ("factor",),
    "element": ("elements", "known", "foreign", "absent"),
    "k_factors": ("factors",),
    "line": ("lines",),
    "memory": ("worker_memory",),
    "path": ("target",),
    "refine_axis": ("keep_axis",),
    "tilts_deg": ("tilts",),
    "user_masks": ("user_mask",),
    "wait_s": ("wait",),
    "y": ("factor",),
    "x": ("factor",),
    "zeta_factors": ("factors",),
}
OPPOSITE = "keep_axis"  # the only flag that means the parameter's opposite

_LITERAL = r"""'[^']*'|"[^"]*"|\[[^\]]*\]|\{[^}]*\}|\([^)]*\)|[\w+-]+(?:\.\w+)*"""
_ATTRIBUTE = re.compile(rf"""ds\.attrs\[['"](\w+)['"]\](?: = ({_LITERAL}))?""")
_PARAMETER = re.compile(rf"(?<![\w.\[])([a-z]\w*)=({_LITERAL})")
_NAME = re.compile(r"(?<![\w.'-])('?)([a-z]+(?:_[a-z0-9]+)+)\1(?![\w'=(-])")
_SUBSCRIPT = re.compile(r"(\w+)\[(.+)\]$")
_REPEATED = re.compile(r"(--[a-z-]+(?: [^\s,;]+)?)(?: \(\1\)|, or (?:pass )?\1)")


class Wording:
    """Words of one verb, for what was given to it."""

    def __init__(self, command: click.Command, given: Mapping[str, Any] | None = None) -> None:
        self.options = {str(option.name): option for option in command.params}
        self.given = given or {}

    def of(self, error: EdxdaskError) -> str:
        """Give the error's sentences."""
        if not isinstance(error, ParameterError):
            return self.translated(str(error))
        fix = error.typed_fix or self.translated(error.fix)
        option = self._option(error.parameter)
        word = (option and _word_for_none(option)) or "nothing"
        expected = re.sub(r"\bNone\b", word, self.translated(error.expected))
        return f"{self._wrong(error)}: expected {expected}." + (f" {fix}" if fix else "")

    def translated(self, text: str) -> str:
        """Replace every parameter in a text by the option."""
        text = _ATTRIBUTE.sub(self._typed_assignment, text)
        text = _PARAMETER.sub(self._typed_assignment, text)
        text = _NAME.sub(self._typed_name, text)
        return _REPEATED.sub(r"\1", text)

    def _wrong(self, error: ParameterError) -> str:
        """Name the option that is wrong, and what was given to it."""
        name, value = error.parameter, error.value
        subscript = _SUBSCRIPT.match(name)
        if subscript is not None:
            name, key = subscript[1], subscript[2].strip("'\"")
            value = {key: value}
        option = self._option(name, value)
        if option is None:
            return f"{error.parameter}={error.value!r}"
        if value == [] or (value is None and _word_for_none(option) is None):
            return f"{_spelled(option)} is missing"
        return self._typed(option, value)

    def _option(self, name: str, value: Any = None) -> click.Parameter | None:
        """Option of a parameter: of its name, or of its meaning, best one that the value was given to."""
        by_spelling = [o for o in self.options.values() if name in (*o.opts, _spelled(o))]
        names = [n for n in (name, *OTHER_NAMES.get(name, ())) if n in self.options]
        known = [*by_spelling, *(self.options[n] for n in names)]
        holding = [o for o in known if str(value) in str(self.given.get(str(o.name)) or "")]
        return next(iter([*holding, *known]), None)

    def _typed_assignment(self, found: re.Match[str]) -> str:
        name, literal = found[1], found[2]
        option = self._option(name)
        if option is None:
            return found[0]
        try:
            return self._typed(option, ... if literal is None else ast.literal_eval(literal))
        except (ValueError, SyntaxError):
            return found[0]

    def _typed_name(self, found: re.Match[str]) -> str:
        option = self._option(found[2])
        return found[0] if option is None else _spelled(option)

    def _typed(self, option: click.Parameter, value: Any) -> str:
        """Give an option with a value as it is typed; a flag has none."""
        if getattr(option, "is_flag", False):
            wanted = bool(value) is not (option.name == OPPOSITE)
            return _spelled(option) if wanted else f"no {_spelled(option)}"
        if isinstance(value, list | set) and list(value) == [...]:
            value = ...
        if value is ...:
            example = getattr(option.type, "example", "") or option.metavar or ""
            return f"{_spelled(option)} {example}".rstrip()
        write: Callable[[Any], str] = option.type.typed if isinstance(option.type, Value) else typed
        return f"{_spelled(option)} {write(value)}"


def _word_for_none(option: click.Parameter) -> str | None:
    """Word that means no value, ``auto``, where the option has one."""
    word = option.type.typed(None) if isinstance(option.type, Value) else str(None)
    return None if word == str(None) else word


def _spelled(option: click.Parameter) -> str:
    """Spell an option in full: ``--out`` of ``-o, --out``; an argument by its name in the usage."""
    if isinstance(option, click.Argument):
        return str(option.metavar or option.human_readable_name).upper()
    return max(option.opts, key=len)
