"""Code blocks of the documents: found, and run one after the other as a reader would."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from edxdask.cli import cli

FENCE = re.compile(r"^(`{3,}|~{3,}) *([^\n`]*)\n(.*?)^\1 *$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!-- (not run|needs|slow)(?:: | )(.+?) -->\s*\Z")
PYTHON, SHELL = ("python",), ("sh", "bash")
SHOWN_ONLY = ("text",)  # drawings of folders, what a command prints


@dataclass(frozen=True)
class Block:
    """One block of a document.

    Attributes
    ----------
    language : as the fence says
    code : its lines
    line : where it begins
    mark, reason : "not run", "needs" or "slow" and what the mark says, from the comment above; else empty
    """

    language: str
    code: str
    line: int
    mark: str = ""
    reason: str = ""

    def runs_with(self, names: set[str]) -> bool:
        """Say whether it can run where ``names`` are there: packages, and public names of this one."""
        return self.mark != "not run" and (self.mark != "needs" or self.reason in names)


def blocks_of(path: Path) -> list[Block]:
    """Find all blocks that are code; cells of notebooks and directives run in the build, and are left out."""
    return list(_blocks(path.read_text(encoding="utf-8")))


def _blocks(text: str) -> Iterator[Block]:
    for found in FENCE.finditer(text):
        language = found[2].strip()
        if language.startswith("{"):
            continue
        mark = MARK.search(text[: found.start()])
        line = text.count("\n", 0, found.start()) + 1
        yield Block(language, found[3], line, *((mark[1], mark[2]) if mark else ()))


def run_commands(code: str) -> None:
    """Run the commands of a block; each must be one of ``edxdask`` and end with exit code 0."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        assert words[0] == "edxdask", f"{line!r} is no command of edxdask: mark the block as not run, and why"
        done = CliRunner().invoke(cli, words[1:])
        assert done.exit_code == 0, f"{line}\n{done.output}\n{done.exception}"


def run_block(block: Block, names: dict[str, object]) -> None:
    """Run a block; what its Python defines stays in ``names`` for the next."""
    if block.language in SHELL:
        run_commands(block.code)
    elif block.language in PYTHON:
        exec(compile(block.code, f"line {block.line}", "exec"), names)
