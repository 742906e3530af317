"""What the documents say: examples run, README's code and commands work word for word, lists are complete."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from vendor_files.velox import write_velox

import edxdask
from edxdask.cli import cli
from edxdask.cli.app import VERBS
from edxdask.io.export import FORMATS as WRITTEN
from edxdask.io.vendor import FORMATS

ROOT = Path(__file__).resolve().parent.parent
README, ARCHITECTURE = (ROOT / name for name in ("README.md", "ARCHITECTURE.md"))
EXAMPLES = sorted((ROOT / "examples").glob("[0-9]*.py"))
PYTHON = [sys.executable, "-W", "error"]


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


def run(command, folder):
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=240, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def readme_commands():
    lines = "\n".join(blocks("sh")).splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.mark.parametrize("shape", [(48, 48), pytest.param((128, 128), marks=pytest.mark.slow)])
def test_the_python_of_the_readme_runs_and_writes_what_it_says(tmp_path, shape):
    """Word for word in the slow test; in the quick one on a smaller map."""
    (code,) = blocks("python")
    assert code.count("(128, 128)") == 1
    run([*PYTHON, "-c", code.replace("(128, 128)", str(shape))], tmp_path)
    for name in ("maps.png", "phases.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert edxdask.open(tmp_path / "mantle.zarr").counts.shape == (*shape, 970)


@pytest.mark.parametrize("shape", ["40x40", pytest.param("96x96", marks=pytest.mark.slow)])
def test_the_commands_of_the_readme_run_one_after_the_other(tmp_path, monkeypatch, shape):
    """Word for word in the slow test; in the quick one on smaller maps."""
    monkeypatch.chdir(tmp_path)
    photons = write_velox(tmp_path / "map.emd", shape=(24, 32), channels=1024, photons_per_pixel=60)
    commands = [words for words in readme_commands() if words[0] == "edxdask"]
    assert sum("96x96" in words for words in commands) == 2
    assert {words[1] for words in commands} >= {"ingest", "info", "bin", "export", "simulate"}
    for words in commands:
        done = CliRunner().invoke(cli, [shape if word == "96x96" else word for word in words[1:]])
        assert done.exit_code == 0, done.output
    assert int(edxdask.open(tmp_path / "map.zarr").counts.sum()) == photons
    assert int(edxdask.open(tmp_path / "binned.zarr").counts.sum()) == photons
    assert edxdask.open(tmp_path / "phases.zarr").sizes["phase"] == 3
    for name in ("maps.png", "map.hspy", "particles.zarr"):
        assert (tmp_path / name).exists()


def test_the_targets_of_the_readme_and_of_contributing_exist():
    targets = {words[1] for words in readme_commands() if words[0] == "make"}
    targets |= set(re.findall(r"^make ([a-z]+)", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    assert targets == {"demo", "test", "check"}
    for target in sorted(targets):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_readme_names_every_format_and_no_other():
    table = [line for line in README.read_text().splitlines() if line.startswith("| ")]
    read = {suffix for line in table for suffix in re.findall(r"`(\.\w+)`", line.split("|")[2])}
    assert read == set(FORMATS) | {".raw", ".spc"}  # which lie beside .rpl and .spd
    (written,) = re.findall(r"Written: (.*)\.$", README.read_text(), re.MULTILINE)
    assert set(re.findall(r"`\.(\w+)`", written)) == {*WRITTEN, "png", "pdf", "svg"}


@pytest.mark.parametrize("path", [README, ARCHITECTURE, ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_what_documents_link_to_is_there(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_architecture_names_files_and_rooms_that_exist():
    package = ROOT / "edxdask"
    folders = [ROOT, package, *(p for p in package.rglob("*") if p.is_dir())]
    named = re.findall(r"`([\w./]+(?:\.py|/))`", ARCHITECTURE.read_text())
    assert len(named) > 30
    missing = [name for name in named if not any((folder / name).exists() for folder in folders)]
    assert missing == []


def test_the_changelog_names_every_verb():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert [verb for verb in VERBS if f"`{verb}`" not in text] == []


def test_examples_are_numbered_from_one_without_a_gap():
    assert [int(path.name[:2]) for path in EXAMPLES] == list(range(1, len(EXAMPLES) + 1))
    assert EXAMPLES


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run_without_a_warning_and_write_where_they_are_told(path, tmp_path):
    printed = run([*PYTHON, str(path), str(tmp_path / "made")], tmp_path)
    assert printed.strip()
    assert os.listdir(tmp_path) == ["made"]


def test_the_order_of_tests_names_files_that_exist(request):
    """Else ``make test`` would compile the same kernels twice, and nobody would notice."""
    order = request.config.pluginmanager.get_plugin(str(ROOT / "tests" / "conftest.py"))
    assert all((ROOT / name).exists() for name in (order.FIRST, *order.BESIDE))
