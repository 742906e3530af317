"""``edxdask quantify``: tables for people and programs, factors from a file, refusals before work."""

from __future__ import annotations

import csv
import json

import pytest
from click.testing import CliRunner

import edxdask
from edxdask.cli import cli

TRUE = {"Mg": 0.185, "Si": 0.18, "O": 0.6}  # of the map's sum, roughly: nine tenths are bridgmanite


def run(*words):
    result = CliRunner().invoke(cli, [str(w) for w in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("quantify") / "map.zarr"
    edxdask.simulate(shape=(48, 48), counts=200, seed=2, out=path)
    return path


def test_a_person_gets_a_table_and_a_program_json(store):
    text = run("quantify", store).stdout
    iron = next(line.split() for line in text.splitlines() if "Fe_Ka" in line)
    said = json.loads(run("quantify", store, "--json").stdout)
    rows = {row["element"]: row for row in said["rows"]}
    assert f"{100 * rows['Fe']['composition']:.3f}" in iron
    for element, share in TRUE.items():
        assert rows[element]["composition"] == pytest.approx(share, rel=0.1)
        assert 0 < rows[element]["composition_std"] < 0.02
    assert sum(row["composition"] for row in rows.values()) == pytest.approx(1.0)


def test_tables_are_written_and_not_replaced_unasked(store, tmp_path):
    for suffix in (".csv", ".json", ".txt"):
        assert run("quantify", store, "--table", tmp_path / f"t{suffix}").exit_code == 0
    read = {row["element"]: row for row in csv.DictReader((tmp_path / "t.csv").read_text().splitlines())}
    same = {row["element"]: row for row in json.loads((tmp_path / "t.json").read_text())}
    assert float(read["Si"]["composition"]) == same["Si"]["composition"]
    assert "Si_Ka" in (tmp_path / "t.txt").read_text()
    again = run("quantify", store, "--table", tmp_path / "t.csv")
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_the_fits_are_drawn_and_not_replaced_unasked(store, tmp_path, suffix, magic):
    path = tmp_path / f"fit{suffix}"
    done = run("quantify", store, "--figure", path)
    assert done.stdout.splitlines()[-1] == str(path)
    assert path.read_bytes().startswith(magic)
    assert "--overwrite" in run("quantify", store, "--figure", path).stderr
    said = json.loads(run("quantify", store, "--figure", path, "--overwrite", "--json").stdout)
    assert said["figure"] == str(path)


def test_phases_of_a_result_are_quantified_and_saved(store, tmp_path):
    cube = edxdask.open(store)
    edxdask.save(edxdask.psnmf(cube, phases=2, bin=8, smooth=1.0), tmp_path / "phases.zarr")
    done = run("quantify", tmp_path / "phases.zarr", "-o", tmp_path / "out.zarr", "--json")
    assert {row["of"] for row in json.loads(done.stdout)["rows"]} == {"phase_0", "phase_1"}
    assert edxdask.open(tmp_path / "out.zarr").composition.dims == ("phase", "element")


def test_factors_come_from_a_file(store, tmp_path):
    lines = {
        row["element"]: row["line"] for row in json.loads(run("quantify", store, "--json").stdout)["rows"]
    }
    path = tmp_path / "k.csv"
    path.write_text("line,k\n" + "\n".join(f"{line},1.0" for line in lines.values()) + "\n")
    rows = json.loads(run("quantify", store, "--factors", path, "--json").stdout)["rows"]
    by = {row["element"]: row for row in rows}
    # with equal factors, mass fractions are as counts
    assert by["Mg"]["mass_fraction"] / by["Si"]["mass_fraction"] == pytest.approx(
        by["Mg"]["line_intensity"] / by["Si"]["line_intensity"], rel=0.1
    )
    path.write_text("line,k\n" + "\n".join(f"{v},1.0" for k, v in lines.items() if k != "Fe") + "\n")
    missing = run("quantify", store, "--factors", path)
    assert missing.exit_code == 2
    assert "Fe_Ka" in missing.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--elements", "Mg,Xx"), "Xx"),
        (("--elements", "Mg,H"), "'H'"),
        (("--thickness", "100"), "density"),
        (("--table", "t.doc"), ".csv"),
        (("--figure", "fit.doc"), ".png"),
        (("--factors", "none.csv"), "no such file"),
        (("--method", "zeta"), "dose"),
    ],
)
def test_what_cannot_work_is_refused_by_name(tmp_path, words, said):
    cube = edxdask.simulate(shape=(8, 8), counts=100)
    del cube.attrs["density_g_cm3"], cube.attrs["thickness_nm"]
    edxdask.save(cube, tmp_path / "bare.zarr")
    done = run("quantify", tmp_path / "bare.zarr", *words)
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.split())
