"""``edxdask judge`` and ``profile``: tables, one object for programs, figures, errors in words of options."""

from __future__ import annotations

import json

import pytest
from known_maps import ABSENT, PHASES, TRACES, collected, simulated

import edxdask

KNOWN = [word for phase, element in ABSENT.items() for word in ("--absent", f"{phase}:{element}")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three maps, one of them of another sample; a result that holds their truth; one map and its result."""
    home = tmp_path_factory.mktemp("maps")
    other = {**TRACES, "Brg": {**TRACES["Brg"], "Fe": 4.0}}
    cubes = {name: simulated(i, size=24, channels=750) for i, name in enumerate(("left", "middle"))}
    cubes["other"] = simulated(2, size=24, channels=750, compositions=other)
    data, result = collected(cubes)
    edxdask.save(data, home / "maps.zarr")
    edxdask.save(result, home / "phases.zarr")
    return home


@pytest.fixture
def words(folder):
    return [folder / "maps.zarr", "--result", folder / "phases.zarr", *KNOWN, "-q"]


def test_the_map_of_another_sample_is_named(run, words, tmp_path):
    made = [tmp_path / name for name in ("t.csv", "t.png", "t.zarr")]
    done = run("judge", *words, "--table", made[0], "--figure", made[1], "-o", made[2], "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert list(said["do_not_belong"]) == ["other"]
    assert [row["map"] for row in said["rows"]] == ["left", "middle", "other"]
    assert said["rows"][2]["map_t1"] > 5 > said["rows"][0]["map_t1"]
    assert made[0].read_text().startswith("map,map_belongs,map_t1,map_sigma,map_fraction")
    assert made[1].read_bytes().startswith(b"\x89PNG")
    kept = edxdask.open(made[2])
    assert kept.map_belongs.values.tolist() == [True, True, False]
    assert kept.edx.table().loc["other", "map_fraction"] == "Fe in Brg"
    assert edxdask.export(kept, tmp_path / "again.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.slow
def test_people_get_a_table_with_the_reason(run, words):
    done = run("judge", *words)
    assert done.exit_code == 0, done.output
    text = " ".join(done.output.split())
    assert "its composition is not that of the other maps" in text
    assert "most of all Fe in Brg" in text


def test_a_profile_is_one_object_and_a_figure(run, folder, tmp_path):
    picture = tmp_path / "p.svg"
    done = run(
        "profile", folder / "maps.zarr" / "left", "--result", folder / "phases.zarr" / "left", *KNOWN,
        "--feature", "Fp", "--elements", "Fe,Mg", "--farthest", 4, "--figure", picture, "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["along"] == "distance from Fp"
    iron = [row["profile_composition"] for row in said["rows"] if row["element"] == "Fe"]
    assert iron[0] > 2 * iron[-1]
    assert picture.read_text().startswith("<?xml")


def test_a_profile_along_a_line_of_one_map(run, folder):
    done = run(
        "profile", folder / "maps.zarr" / "left", "--result", folder / "phases.zarr" / "left", *KNOWN, "-q",
        "--line", "10,0:10,23", "--step", 8, "--width", 5, "--elements", "Si",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert [line.split()[0] for line in done.output.splitlines()[1:]] == ["4", "12", "20"]


@pytest.mark.parametrize(
    ("verb", "extra", "says"),
    [
        ("judge", ["--matrix", "Mgw"], "--matrix Mgw: expected one of the phases of the result"),
        ("judge", ["--margin", "-1"], "--margin -1: expected a distance in pixels, 0 or more"),
        ("judge", ["--table", "t.xlsx"], "a file that ends in .csv, .json, .txt"),
        ("profile", [], "--feature is missing: expected a phase, or a line instead, one of the two."),
        ("profile", ["--feature", "Brg"], "--feature Brg: expected a precipitate, 'Fp', 'CaPv'"),
        ("profile", ["--feature", "Fp", "--step", "0"], "--step 0: expected a length in pixels above 0"),
        ("profile", ["--line", "1,2"], "expected both ends of a line in pixels, as in 10,0:10,40"),
        ("profile", ["--line", "1,2:1,9"], "--line 1,2:1,9: expected one map; this is a collection."),
        ("profile", ["--feature", "Fp", "--elements", "Zr"], "--elements Zr: expected elements of the"),
    ],
)  # fmt: skip
def test_a_wrong_call_gets_one_line_in_the_words_of_the_command_line(run, words, verb, extra, says):
    done = run(verb, *words, *extra)
    assert done.exit_code == 2
    assert says in " ".join(done.output.split())


def test_one_map_cannot_be_judged(run, folder):
    done = run("judge", folder / "maps.zarr" / "left", "--result", folder / "phases.zarr" / "left", *KNOWN)
    assert done.exit_code == 2
    assert "expected a collection of two maps or more" in done.output


def test_stores_in_the_wrong_place_are_named(run, folder):
    done = run("judge", folder / "phases.zarr", "--result", folder / "phases.zarr")
    assert done.exit_code == 2
    assert "a store of counts, which judge needs" in done.output
    done = run("profile", folder / "maps.zarr", "--result", folder / "maps.zarr", "--feature", PHASES[1])
    assert done.exit_code == 2
    assert "a result of a factorization, which profile needs" in done.output
