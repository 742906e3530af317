"""``edxdask quantify``: tables for people and programs, factors from a file, refusals before work."""

from __future__ import annotations

import csv
import json

import pytest
import xarray as xr

import edxdask

TRUE = {"Mg": 0.185, "Si": 0.18, "O": 0.6}  # of the map's sum, roughly: nine tenths are bridgmanite


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("quantify") / "map.zarr"
    edxdask.simulate(shape=(48, 48), counts=200, seed=2, out=path)
    return path


def test_a_person_gets_a_table_and_a_program_json(run, store):
    text = run("quantify", store).stdout
    iron = next(line.split() for line in text.splitlines() if "Fe_Ka" in line)
    said = json.loads(run("quantify", store, "--json").stdout)
    rows = {row["element"]: row for row in said["rows"]}
    assert f"{100 * rows['Fe']['composition']:.3f}" in iron  # three places, as its error is 0.0..
    assert f"{100 * rows['Fe']['composition_std']:.3f}" in iron
    assert text.splitlines()[0].split()[2:6] == ["at.%", "±", "wt.%", "±"]
    assert f"{100 * rows['Fe']['mass_fraction_std']:.3f}" in iron
    for element, share in TRUE.items():
        assert rows[element]["composition"] == pytest.approx(share, rel=0.1)
        assert 0 < rows[element]["composition_std"] < 0.02
    assert sum(row["composition"] for row in rows.values()) == pytest.approx(1.0)


def test_tables_are_written_and_not_replaced_unasked(run, store, tmp_path):
    for suffix in (".csv", ".json", ".txt"):
        assert run("quantify", store, "--table", tmp_path / f"t{suffix}").exit_code == 0
    read = {row["element"]: row for row in csv.DictReader((tmp_path / "t.csv").read_text().splitlines())}
    same = {row["element"]: row for row in json.loads((tmp_path / "t.json").read_text())}
    assert float(read["Si"]["composition"]) == same["Si"]["composition"]
    assert "Si_Ka" in (tmp_path / "t.txt").read_text()
    again = run("quantify", store, "--table", tmp_path / "t.csv")
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr


def test_an_efficiency_from_a_file_counts_and_stays_with_the_result(run, store, tmp_path):
    path = tmp_path / "curve.csv"
    path.write_text("keV,share\n0.1,1\n2.4,1\n2.6,0.5\n20,0.5\n")
    flat = tmp_path / "flat.csv"
    flat.write_text("# all of them\n0.1,1\n20,1\n")

    def iron(efficiency):
        said = json.loads(run("quantify", store, "--efficiency", efficiency, "--json").stdout)
        atoms = {row["element"]: row["composition"] for row in said["rows"]}
        return atoms["Fe"] / atoms["Si"]

    assert iron(path) == pytest.approx(2 * iron(flat), rel=0.02)
    done = run(
        "nmf", store, "-o", tmp_path / "n.zarr", "--phases", 2, "--max-iter", 5, "--elements", "find",
        "--efficiency", path,
    )  # fmt: skip
    assert done.exit_code == 0
    kept = edxdask.open(tmp_path / "n.zarr").attrs
    assert list(kept["efficiency_energy_kev"]) == [0.1, 2.4, 2.6, 20.0]
    assert list(kept["efficiency"]) == [1, 1, 0.5, 0.5]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("keV,share\n1.0,0.5\n2.0,half\n", "line 3"),
        ("2.0,0.5\n1.0,0.5\n", "rising energies in keV"),
        ("1.0,50\n2.0,90\n", "fractions from 0 to 1"),
        ("", "two lines or more"),
        ("PK\x03\x04\x00\xff\n\x00\x01", "line 2"),
    ],
)
def test_an_efficiency_that_cannot_be_read_is_named(run, store, tmp_path, text, said):
    path = tmp_path / "curve.csv"
    path.write_bytes(text.encode("latin-1"))
    done = run("psnmf", store, "-o", tmp_path / "p.zarr", "--elements", "Mg,Si", "--efficiency", path)
    assert done.exit_code in (1, 2)
    assert str(path) in done.stderr
    assert said in done.stderr
    assert not list(tmp_path.glob("p.zarr*"))


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")])
def test_the_fits_are_drawn_and_not_replaced_unasked(run, store, tmp_path, suffix, magic):
    path = tmp_path / f"fit{suffix}"
    done = run("quantify", store, "--figure", path)
    assert done.stdout.splitlines()[-1] == str(path)
    assert path.read_bytes().startswith(magic)
    assert "--overwrite" in run("quantify", store, "--figure", path).stderr
    said = json.loads(run("quantify", store, "--figure", path, "--overwrite", "--json").stdout)
    assert said["figure"] == str(path)


def test_phases_of_a_result_are_quantified_and_saved(run, store, tmp_path):
    cube = edxdask.open(store)
    edxdask.save(edxdask.psnmf(cube, phases=3, bin=8, smooth=1.0), tmp_path / "phases.zarr")
    done = run("quantify", tmp_path / "phases.zarr", "-o", tmp_path / "out.zarr", "--json")
    assert {row["of"] for row in json.loads(done.stdout)["rows"]} == {"phase_0", "phase_1", "phase_2"}
    assert edxdask.open(tmp_path / "out.zarr").composition.dims == ("phase", "element")


def test_elements_may_be_found_of_a_map_a_result_and_a_collection(run, store, tmp_path):
    cube = edxdask.open(store)
    bare = cube.drop_attrs().assign_attrs(fwhm_mn_ka_ev=130.0)
    edxdask.save(bare, tmp_path / "bare.zarr")
    edxdask.save(edxdask.nmf(bare, phases=2, max_iter=10), tmp_path / "phases.zarr")
    edxdask.save(edxdask.collect({"a": bare, "b": bare.isel(x=slice(0, 20))}), tmp_path / "two.zarr")
    majors = {"O", "Mg", "Al", "Si", "Ca", "Fe"}
    for name in ("bare", "phases", "two"):
        words = ("--elements", "find", "--beam-energy", "200", "--json")
        rows = json.loads(run("quantify", tmp_path / f"{name}.zarr", *words).stdout)["rows"]
        assert majors <= {row["element"] for row in rows} <= {*majors, "Nd", "Sm", "U", "Cu"}, name
    empty = xr.zeros_like(bare.counts).to_dataset().assign_attrs(bare.attrs)
    edxdask.save(empty, tmp_path / "empty.zarr")
    refused = run("quantify", tmp_path / "empty.zarr", "--elements", "find", "--beam-energy", "200")
    assert refused.exit_code != 0
    assert "Traceback" not in refused.stderr


def test_factors_come_from_a_file(run, store, tmp_path):
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


def test_factors_of_json_are_those_of_csv_errors_included(run, store, tmp_path):
    rows = json.loads(run("quantify", store, "--json").stdout)["rows"]
    factors = {row["line"]: [1.0 + 0.1 * i, 0.02] for i, row in enumerate(rows)}
    as_json, as_csv = tmp_path / "zeta.json", tmp_path / "zeta.csv"
    as_json.write_text(json.dumps(factors))
    as_csv.write_text("\n".join(f"{line},{value},{std}" for line, (value, std) in factors.items()))
    words = ("quantify", store, "--method", "zeta", "--dose", "1e12", "--json", "--factors")
    one, other = (json.loads(run(*words, path).stdout)["rows"] for path in (as_json, as_csv))
    assert one == other
    as_json.write_text(json.dumps({line: value for line, (value, _) in factors.items()}))
    exact = json.loads(run(*words, as_json).stdout)["rows"]
    assert exact[0]["composition"] == pytest.approx(one[0]["composition"], rel=1e-9)
    assert exact[0]["composition_std"] < one[0]["composition_std"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "valid JSON; this is not"),
        ("[1]", "one object of lines"),
        ('{"Mg_Ka": "much"}', "Mg_Ka"),
        ('{"Mg_Ka": [1, 2, 3]}', "a factor and its error"),
        ('{"Mg_Ka": -1}', "above 0"),
        ('{"Mg_Qa": 1}', "Mg_Qa"),
    ],
)
def test_factors_that_cannot_be_read_are_named(run, store, tmp_path, text, said):
    path = tmp_path / "k.json"
    path.write_text(text)
    done = run("quantify", store, "--elements", "Mg,Si", "--factors", path)
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.split())


def test_lines_that_nobody_listed_are_said_to_people_and_programs(run, store):
    words = ("quantify", store, "--elements", "O,Mg,Al,Si,Fe,Nd,Sm,U,Cu")
    assert "holds what is not listed: Ca (Ca_Ka" in run(*words).stderr
    (text,) = json.loads(run(*words, "--json").stdout)["warnings"]
    assert "sum holds what is not listed: Ca (Ca_Ka" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--elements", "Mg,Xx"), "Xx"),
        (("--elements", "Mg,H"), "--elements H: expected"),
        (("--thickness", "100"), "density"),
        (("--table", "t.doc"), ".csv"),
        (("--figure", "fit.doc"), ".png"),
        (("--factors", "none.csv"), "no such file"),
        (("--efficiency", "none.csv"), "no such file"),
        (("--method", "zeta"), "dose"),
    ],
)
def test_what_cannot_work_is_refused_by_name(run, tmp_path, words, said):
    cube = edxdask.simulate(shape=(8, 8), counts=100)
    del cube.attrs["density_g_cm3"], cube.attrs["thickness_nm"]
    edxdask.save(cube, tmp_path / "bare.zarr")
    done = run("quantify", tmp_path / "bare.zarr", *words)
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.split())
