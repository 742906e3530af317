"""What a report about a file may repeat from it: words that readers of such files know, and no others.

A file from a laboratory may hold the names of people and samples anywhere: in names of groups, in keys, in
the text of an error. So the rule lists what may pass, not what may not. A name passes where it is in the
code of a reader (ours or rosettasciio's) or in ``data/layout_names.txt``, as such a word cannot come from the
file; of a message, the words pass that are in that code or in ``data/message_words.txt``.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib.util
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

_PACKAGES = ("edxdask.io", "rsciio")
_LONGEST_LITERAL = 400  # longer ones are tables and templates
_WORD = re.compile(r"[^\W\d_]+")
_TOKEN = re.compile(r"\w+")
_HEX = re.compile(r"[0-9a-f]{32}")
_NUMBERED = re.compile(r"[-_ ]?\d{1,4}$")
_BRACKETS = re.compile(r'[.\[\]"]+')
_NUMBER = re.compile(r"\d{1,4}")
_LINE = re.compile(r"[A-Z][a-z]?[ _][KLM](?:[ab]\d?|l|n|z)?\d?")
_COUNTS = re.compile(r"\d+(?= (?:photons|counts|events|words)\b)")
_HIDDEN = "…"


@functools.cache
def known_names() -> frozenset[str]:
    """Text constants of the code that reads files, whole and at the slashes between groups."""
    names = set(_listed("layout_names.txt"))
    for text in _constants():
        names |= {text, *text.split("/"), *text.split(".")}
    return frozenset(name.strip() for name in names)


@functools.cache
def known_words() -> frozenset[str]:
    """Words of these constants and of Python's messages, in lower case."""
    errors = {name.lower() for name, kind in vars(builtins).items() if isinstance(kind, type)}
    listed = {word for line in _listed("message_words.txt") for word in line.split()}
    return frozenset(errors | listed | {w.lower() for text in _constants() for w in _WORD.findall(text)})


def _listed(name: str) -> list[str]:
    lines = (resources.files("edxdask.io") / "data" / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _constants() -> Iterator[str]:
    for path in _sources():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) and id(node) not in prose else None
            if isinstance(text, str) and len(text) <= _LONGEST_LITERAL:
                yield text


def _sources() -> Iterator[Path]:
    for package in _PACKAGES:
        found = importlib.util.find_spec(package)
        for folder in found.submodule_search_locations or () if found else ():
            for path in sorted(Path(folder).rglob("*.py")):
                if "tests" not in path.relative_to(folder).parts:
                    yield path


def shown_name(name: object) -> str:
    """Name of a group, a key or a tag as it may be shown.

    Parameters
    ----------
    name : object
        The name; only text passes.

    Returns
    -------
    str
        The name where a reader's code knows it; else what kind of name it is, and how long.

    Examples
    --------
    >>> shown_name("SpectrumStream"), shown_name("Basalt of Prof. Rossi"), shown_name("17")
    ('SpectrumStream', '<name of 21 characters>', '17')
    """
    text = str(name)
    if _HEX.fullmatch(text):
        return "<32 hex digits>"
    if _LINE.fullmatch(text):
        return "<X-ray line>"
    if all(_is_known(part) for part in _BRACKETS.split(text)):
        return text
    return f"<name of {len(text)} characters>"


def _is_known(part: str) -> bool:
    """Whether a name, or what is left of it without the number at its end, is one that readers know."""
    known = known_names()
    return part in known or bool(_NUMBER.fullmatch(part)) or _NUMBERED.sub("", part) in known


def shown_suffix(path: Path) -> str:
    """Suffix of a file's name where it is one of a known format.

    Examples
    --------
    >>> shown_suffix(Path("Rossi/basalt.bcf")), shown_suffix(Path("map.of.rossi"))
    ('.bcf', '<suffix of 6 characters>')
    """
    suffix = path.suffix.lower()
    known = {text.lower().removeprefix(".") for text in known_names()}
    return suffix if not suffix or suffix[1:] in known else f"<suffix of {len(suffix)} characters>"


def shown_message(text: str, *hidden: str) -> str:
    """Text of an error as it may be shown: unknown words become "…".

    Parameters
    ----------
    text : str
        The message.
    *hidden : str
        What must go first as a whole, such as the path of the file.

    Returns
    -------
    str
        The message without what could come from the file.

    Examples
    --------
    >>> shown_message("/data/rossi/a.emd: unable to open file 'Rossi 3'", "/data/rossi/a.emd")
    "FILE: unable to open file '… 3'"
    """
    for piece in sorted(filter(None, hidden), key=len, reverse=True):
        text = text.replace(piece, "FILE")
    text = re.sub(r"(?:[A-Za-z]:)?(?:[\\/][^\\/\s:'\"]+){2,}[\\/]?", _HIDDEN, text)  # other paths
    text = _COUNTS.sub(_HIDDEN, text)
    return re.sub(rf"(?:{_HIDDEN}\W?)+{_HIDDEN}", _HIDDEN, _TOKEN.sub(_shown_token, text))


def _shown_token(match: re.Match[str]) -> str:
    token = match[0]
    if token in ("FILE", _HIDDEN) or token in known_names() or re.fullmatch(r"\d+|0x[0-9a-f]+", token):
        return token
    parts = _WORD.findall(token)
    return token if parts and all(part.lower() in known_words() for part in parts) else _HIDDEN
