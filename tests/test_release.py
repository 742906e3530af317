"""What a release is made of: wheel, sdist, workflow files, citation; each tried or held against the rest."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import edxdask
from edxdask.cli.app import VERBS

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run(command, folder, **environment):
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "NUMBA_CACHE_DIR")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=900,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def loaded(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(path):
    """All steps of a workflow."""
    return [step for job in loaded(path)["jobs"].values() for step in job["steps"]]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Wheel and sdist, built from the files that git knows, and the wheel that is built from the sdist."""
    home = tmp_path_factory.mktemp("release")
    clone, dist, again = home / "clone", home / "dist", home / "again"
    names = run(["git", "ls-files", "-z"], ROOT).split("\0")
    for name in filter(None, names):
        target = clone / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    run([sys.executable, "-m", "build", "--outdir", dist, clone], home)
    (sdist,), (wheel,) = dist.glob("*.tar.gz"), dist.glob("*.whl")
    with tarfile.open(sdist) as archive:
        archive.extractall(home / "unpacked", filter="data")
    (unpacked,) = (home / "unpacked").iterdir()
    run([sys.executable, "-m", "build", "--wheel", "--outdir", again, unpacked], home)
    (second,) = again.glob("*.whl")
    return wheel, sdist, second


@pytest.fixture(scope="module")
def elsewhere(built, tmp_path_factory):
    """Python of a fresh environment that has the wheel and what it depends on, from the package index."""
    home = tmp_path_factory.mktemp("elsewhere")
    venv.create(home / "venv", with_pip=True)
    python = home / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    run([python, "-m", "pip", "install", "-q", built[0]], home)
    return python


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_wheel_of_the_sdist_is_the_wheel_of_the_clone(built):
    wheel, sdist, second = built
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(second) as other:
        assert {i.filename: i.CRC for i in one.infolist() if "RECORD" not in i.filename} == {
            i.filename: i.CRC for i in other.infolist() if "RECORD" not in i.filename
        }
        inside = set(one.namelist())
    tracked = run(["git", "ls-files", "edxdask"], ROOT).split()
    assert set(tracked) <= inside
    assert not [name for name in inside if not name.startswith("edxdask")]
    with tarfile.open(sdist) as archive:
        held = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {*tracked, "LICENSE", "README.md", "CITATION.cff", "tests/conftest.py"} <= held


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_wheel_works_where_there_is_no_clone(elsewhere, tmp_path):
    where = run([elsewhere, "-c", "import edxdask; print(edxdask.__file__)"], tmp_path)
    assert Path(where.strip()).is_relative_to(elsewhere.parents[1])
    program = elsewhere.with_name("edxdask")
    assert run([program, "--version"], tmp_path).strip() == f"edxdask {PROJECT_VERSION}"
    run([program, "demo", "-o", "demo"], tmp_path)  # without the extra of the report: all but the report
    assert not (tmp_path / "demo" / "report.html").exists()
    assert (tmp_path / "demo" / "phases.png").stat().st_size > 10_000
    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert "Mg" in run([elsewhere, "-W", "error", "-c", code], tmp_path)
    assert (tmp_path / "phases.png").stat().st_size > 10_000


PROJECT_VERSION = edxdask.__version__


def test_citation_recipe_and_package_agree_on_version_and_licence():
    citation = loaded(ROOT / "CITATION.cff")
    assert str(citation["version"]) == PROJECT_VERSION
    assert citation["license"] == PROJECT["license"]
    recipe = loaded(ROOT / "deploy" / "conda" / "recipe.yaml")
    assert recipe["context"]["version"] == PROJECT_VERSION
    assert recipe["about"]["license"] == PROJECT["license"]


def test_the_citation_is_whole_and_names_the_papers_of_the_methods():
    citation = loaded(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "type"} <= set(citation)
    papers = {(p["journal"], str(p.get("volume", "")), str(p["start"])) for p in citation["references"]}
    assert papers == {
        ("Nano Letters", "24", "10177"),
        ("Ultramicroscopy", "", "113981"),
        ("Ultramicroscopy", "249", "113719"),
        ("Machine Learning: Science and Technology", "5", "045050"),
    }
    for paper in citation["references"]:
        assert {"type", "title", "authors", "year"} <= set(paper)


def test_the_recipe_asks_for_what_the_package_asks_for():
    recipe = loaded(ROOT / "deploy" / "conda" / "recipe.yaml")
    other = {"dask": "dask-core", "matplotlib": "matplotlib-base"}
    expected = {"python": PROJECT["requires-python"]}
    for text in PROJECT["dependencies"]:
        need = Requirement(text)
        expected[other.get(need.name, need.name)] = str(need.specifier)
    stated = dict(line.split(" ", 1) for line in recipe["requirements"]["run"])
    assert {name: Requirement(f"x{text}").specifier for name, text in stated.items()} == {
        name: Requirement(f"x{text}").specifier for name, text in expected.items()
    }


def test_the_oldest_set_is_that_of_the_lower_bounds():
    lines = (ROOT / "deploy" / "constraints-oldest.txt").read_text().splitlines()
    tried = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    for text in PROJECT["dependencies"]:
        need = Requirement(text)
        lower = min(s.version for s in need.specifier if s.operator == ">=")
        assert need.specifier.contains(tried[need.name]), text
        assert tried[need.name].startswith(lower), f"{text}: tried with {tried[need.name]}"


def make_targets():
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_workflows_name_targets_extras_files_and_verbs_that_exist(path):
    found = loaded(path)
    assert {"name", "jobs", "permissions"} <= set(found)
    assert True in found or "on" in found  # YAML 1.1 reads the key `on` as true
    for step in steps(path):
        assert ("uses" in step) != ("run" in step)
        command = step.get("run", "")
        for line in command.splitlines():
            if line.startswith("make "):
                assert set(line.split()[1:]) <= make_targets()
            for extras in re.findall(r"\.\[([\w,]+)\]", line):
                assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
            for verb in re.findall(r"bin/edxdask (\w+)", line):
                assert verb in VERBS
            for file in re.findall(r"(?:-c|bash) ([\w./-]+/[\w./-]+)", line):
                assert (ROOT / file).is_file(), file


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_workflows_have_limits_and_no_more_rights_than_they_need(path):
    found = loaded(path)
    assert found["permissions"] == {"contents": "read"}
    for job in found["jobs"].values():
        assert job["timeout-minutes"] <= 120
        assert job.get("permissions", {}) in ({}, {"id-token": "write"})
    text = path.read_text()
    assert "password" not in text.replace("a stored password", "")
    assert "secrets." not in text


def test_tests_run_on_three_systems_with_the_oldest_and_newest_dependencies():
    (ci,) = (path for path in WORKFLOWS if path.name == "ci.yml")
    rows = loaded(ci)["jobs"]["tests"]["strategy"]["matrix"]["include"]
    assert {row["system"].split("-")[0] for row in rows} == {"ubuntu", "macos", "windows"}
    assert {row["dependencies"] for row in rows} == {"oldest", "newest"}
    assert "3.11" in {row["python"] for row in rows}


@pytest.mark.parametrize("path", [p for p in FORMS if p.name != "config.yml"], ids=lambda p: p.name)
def test_issue_forms_are_whole_and_ask_for_the_report(path):
    form = loaded(path)
    assert {"name", "description", "body"} <= set(form)
    assert "edxdask diagnose" in path.read_text()
    names = [item["id"] for item in form["body"] if item["type"] != "markdown"]
    assert len(names) == len(set(names))
    for item in form["body"]:
        assert item["type"] in ("markdown", "textarea", "input", "dropdown", "checkboxes")
        assert "label" in item["attributes"] or item["type"] == "markdown"


def test_tests_that_other_systems_leave_out_are_there():
    text = (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8")
    (listed,) = re.findall(r"^NEED_LINUX = (\[.*?\])", text, re.MULTILINE | re.DOTALL)
    names = ast.literal_eval(listed)
    assert names
    assert all((ROOT / "tests" / name).exists() for name in names)


def test_hooks_of_pre_commit_run_what_make_runs():
    hooks = [h for repo in loaded(ROOT / ".pre-commit-config.yaml")["repos"] for h in repo["hooks"]]
    entries = " ".join(h.get("entry", "") for h in hooks)
    for tool in ("ruff check", "ruff format", "mypy"):
        assert f".venv/bin/{tool}" in entries
        assert f"$(BIN)/{tool}" in (ROOT / "Makefile").read_text()
