"""``edxdask elements``: table, JSON, figure, and refusals before work."""

from __future__ import annotations

import json

import pytest

import edxdask


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("elements") / "map.zarr"
    edxdask.simulate(shape=(16, 16), counts=200, seed=2, out=path)
    return path


def test_the_table_and_the_figure(run, store, tmp_path):
    done = run("elements", store, "--known", "Mg, Si", "--figure", tmp_path / "s.png")
    assert done.exit_code == 0
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "listed" in rows["Mg"]
    assert "Fe Kα" in rows["Fe"]
    assert "listed" not in rows["Fe"]
    assert (tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


def test_json_holds_every_candidate(run, store):
    said = json.loads(run("elements", store, "--json").stdout)
    iron = next(c for c in said["candidates"] if c["name"] == "Fe")
    assert iron["candidate_line"] == "Fe_Ka"
    assert iron["significant"] is True
    assert iron["significance"] > 20
    assert said["energy_gain"] == pytest.approx(1.0, abs=2e-3)
    kept = json.loads(run("elements", store, "--json", "--keep-axis").stdout)
    assert (kept["energy_gain"], kept["energy_offset_step_kev"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--figure", "a.txt"], "ends in .png"),
        (["--figure", "no/such/folder/a.png"], "folder does not exist"),
        (["--known", "Mg,Zzz"], "--known Zzz: expected"),
        (["--beam-energy", "200000"], "In keV that is 200"),
        (["--result", "x.zarr", "--figure", "a.png"], "no figure with --result"),
    ],
)
def test_what_cannot_work_is_refused(run, store, words, message):
    done = run("elements", store, *words)
    assert done.exit_code == 2
    assert message in done.stderr
