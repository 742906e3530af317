"""Every code block of README and of the site runs, in the order of its page, or says why it does not."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from pathlib import Path

import pytest
from code_blocks import PYTHON, SHELL, SHOWN_ONLY, Block, blocks_of, run_block
from vendor_files.velox import write_velox

import edxdask

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(p for p in (ROOT / "docs").rglob("*.md") if "generated" not in p.parts)
OTHERS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md")]
PUBLIC = {f"edxdask.{name}" for name in edxdask.__all__}
OF_EXTRAS = ("hyperspy", "dask_jobqueue")
PACKAGES = {name for name in OF_EXTRAS if importlib.util.find_spec(name)}


def named(path):
    return path.relative_to(ROOT).as_posix()


def marked(block, path):
    return pytest.param(block, id=f"{named(path)}:{block.line}")


def runnable(path, *, slow):
    """Blocks of a page that can run here, with or without those marked as slow."""
    return [b for b in blocks_of(path) if b.runs_with(PUBLIC | PACKAGES) and (slow or b.mark != "slow")]


WITH_CODE = [path for path in PAGES if runnable(path, slow=False)]
SLOW = {f"docs/{name}.md" for name in ("index", "start", "methods", "hyperspy", "report", "tomography")}
FOREIGN = pytest.mark.filterwarnings("ignore")  # HyperSpy and eXSpy warn of each other
MARKS = {name: [pytest.mark.slow, *([FOREIGN] if "hyperspy" in name else [])] for name in SLOW}
CASES = [pytest.param(path, id=named(path), marks=MARKS.get(named(path), [])) for path in WITH_CODE]


@pytest.mark.parametrize("path", CASES)
def test_the_blocks_of_a_page_run_one_after_the_other(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_velox(tmp_path / "map.emd", shape=(24, 32), channels=1024, photons_per_pixel=60)
    names = {"__name__": "__main__"}
    for block in runnable(path, slow=False):
        run_block(block, names)


@pytest.mark.cluster
def test_the_blocks_of_the_page_on_clusters_run_on_worker_processes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__"}
    blocks = runnable(ROOT / "docs" / "cluster.md", slow=True)
    assert any("client_for" in block.code for block in blocks)
    for block in blocks:
        run_block(block, names)
    assert edxdask.open(tmp_path / "phases.zarr").sizes["phase"] == 3


@pytest.mark.parametrize("path", [*PAGES, *OTHERS], ids=named)
def test_blocks_are_of_a_language_that_is_checked(path):
    """README's and CONTRIBUTING's own blocks run in tests/test_examples.py and in CI."""
    assert {block.language for block in blocks_of(path)} <= {*PYTHON, *SHELL, *SHOWN_ONLY}


BLOCKS = [marked(block, path) for path in PAGES for block in blocks_of(path)]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_that_does_not_run_says_why_and_is_right_all_the_same(block):
    if block.mark == "not run":
        assert len(block.reason) > 10
    if block.mark == "needs":
        assert block.reason in OF_EXTRAS or block.reason.startswith("edxdask.")
    if block.language in PYTHON:
        ast.parse(block.code)


def keywords_called(code):
    """Public functions that a block calls by ``edxdask.NAME(...)``, with the keywords that it gives."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            home = node.func.value
            if isinstance(home, ast.Name) and home.id == "edxdask":
                yield node.func.attr, [word.arg for word in node.keywords if word.arg]


@pytest.mark.parametrize("block", [p for p in BLOCKS if p.values[0].mark == "not run"])
def test_blocks_that_are_not_run_call_names_and_keywords_that_exist(block):
    if block.language not in PYTHON:
        return
    for name, words in keywords_called(block.code):
        assert name in edxdask.__all__
        parameters = inspect.signature(getattr(edxdask, name)).parameters.values()
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            assert set(words) <= {p.name for p in parameters}


def test_marks_are_found_and_blocks_run_in_order(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- not run: it needs a Slurm -->\n```sh\nsbatch x\n```\n"
        "```python\na = 1\n```\n:::{note}\n<!-- needs hyperspy -->\n\n```python\nb = a\n```\n:::\n"
        "```{code-cell}\n1\n```\n",
        encoding="utf-8",
    )
    found = blocks_of(page)
    assert [(b.language, b.mark, b.reason) for b in found] == [
        ("sh", "not run", "it needs a Slurm"),
        ("python", "", ""),
        ("python", "needs", "hyperspy"),
    ]
    assert [b.runs_with(set()) for b in found] == [False, True, False]
    names = {}
    for block in found[1:]:
        run_block(block, names)
    assert names["b"] == 1


def test_a_command_that_fails_or_is_not_ours_is_an_error():
    with pytest.raises(AssertionError, match="no command of edxdask"):
        run_block(Block("sh", "make demo\n", 1), {})
    with pytest.raises(AssertionError, match="nowhere"):
        run_block(Block("sh", "edxdask info nowhere.zarr\n", 1), {})
