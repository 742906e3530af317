"""The factorizing verbs: results, JSON, and what a wrong call is answered."""

import json

import numpy as np
import pytest

import edxdask
from edxdask.errors import ParameterError


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "map.zarr"
    edxdask.simulate("mantle", shape=(40, 44), counts=80, seed=1, out=path)
    return path


def test_nmf_writes_a_result_that_score_holds_against_the_truth(run, store, tmp_path):
    out = tmp_path / "result.zarr"
    done = run("nmf", store, "-o", out, "--phases", 3, "--max-iter", 60, "--json", "-q")
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert figures["iterations"] <= 60
    assert sum(figures["phases"].values()) == pytest.approx(1.0)
    scored = run("score", out, store, "--json")
    angles = json.loads(scored.stdout)["angles_deg"]
    direct = edxdask.score(edxdask.open(out), truth=edxdask.open(store))
    np.testing.assert_allclose(angles, direct.angles)
    assert not (tmp_path / "result.zarr.checkpoint").exists()


def test_pca_writes_components_and_prints_the_scree(run, store, tmp_path):
    out = tmp_path / "pca.zarr"
    done = run("pca", store, "-o", out, "--components", 2)
    assert done.exit_code == 0, done.output
    assert "component_0" in done.output
    assert edxdask.open(out)["loading"].sizes["component"] == 2


@pytest.mark.parametrize("verb", [["nmf", "--max-iter", 20], ["psnmf", "--bin", 4, "--smooth", 1]])
def test_phases_may_be_names(run, store, tmp_path, verb):
    out = tmp_path / "named.zarr"
    done = run(verb[0], store, "-o", out, "--phases", "Brg, Fp,CaPv", *verb[1:], "-q")
    assert done.exit_code == 0, done.output
    assert edxdask.open(out)["phase"].values.tolist() == ["Brg", "Fp", "CaPv"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["nmf", "{store}", "-o", "{store}", "--overwrite"], 2, "would be lost"),
        (["nmf", "{store}", "-o", "{tmp}"], 2, "exists"),
        (["nmf", "{store}", "-o", "{tmp}", "--overwrite"], 1, "not a store of edxdask"),
        (["nmf", "{store}", "-o", "{tmp}/none/r.zarr"], 2, "mkdir"),
        (["psnmf", "{store}", "-o", "{tmp}/r.zarr", "--bin", "40"], 2, "--bin 40: expected"),
        (["nmf", "/nowhere.zarr", "-o", "{tmp}/r.zarr"], 2, "/nowhere.zarr"),
        (["nmf", "{store}", "-o", "{tmp}/r.zarr", "--phases", "4000"], 2, "--phases 4000: expected"),
        (["nmf", "{store}", "-o", "{tmp}/r.zarr", "--scheduler", "moon"], 2, "--scheduler moon: expected"),
        (["nmf", "{store}", "-o", "{tmp}/r.zarr", "--memory-limit", "lots"], 2, "lots"),
        (["nmf", "{store}", "-o", "{tmp}/r.zarr", "--memory-limit", "1MB"], 1, "Set --memory-limit"),
        (["psnmf", "{store}", "-o", "{tmp}/r.zarr", "--bin", "some"], 2, "auto"),
        (["psnmf", "{store}", "-o", "{tmp}/r.zarr", "--phases", "some"], 2, "'auto' or names with commas"),
        (["nmf", "{store}", "-o", "{tmp}/r.zarr", "--phases", "auto"], 2, "expected a number or names"),
        (["nmf", "{store}", "-o", "{tmp}/r.zarr", "--phases", "Fp,Fp"], 2, "different and not empty"),
        (
            [
                "psnmf",
                "{store}",
                "-o",
                "{tmp}/r.zarr",
                "--elements",
                "Mg,Si",
                "--phases",
                "Brg,Fp",
                "--absent",
                "Fp:Si",
                "--absent",
                "Fpp:Mg",
            ],
            2,
            "--absent Fpp: expected names among --phases Brg,Fp. Did you mean Fp?",
        ),
        (["score", "{store}", "{store}"], 2, "To make one of it: edxdask psnmf"),
    ],
)
def test_a_wrong_call_gets_one_line_and_its_code(run, store, tmp_path, words, code, says):
    done = run(*(w.format(store=store, tmp=tmp_path) for w in words))
    assert done.exit_code == code, done.output
    assert says in done.stderr
    assert not (tmp_path / "r.zarr").exists()


def test_psnmf_takes_closure_and_stop_rule_and_says_them(run, store, tmp_path):
    words = (
        "--phases",
        2,
        "--bin",
        4,
        "--smooth",
        1,
        "--max-iter",
        8,
        "--tol",
        "1e-3",
        "--closure",
        "thickness",
    )
    done = run("psnmf", store, "-o", tmp_path / "r.zarr", *words, "--prior", "laplacian", "-q")
    assert done.exit_code == 0, done.output
    said = edxdask.open(tmp_path / "r.zarr").attrs["history"][-1]
    assert said == "psnmf(phases=2, bin=4, smooth=1, prior='laplacian', closure='thickness')"


def test_the_history_of_psnmf_holds_what_the_user_knew(run, store, tmp_path):
    words = ("--elements", "O,Mg,Si,Ca,Fe", "--phases", "Brg,Fp", "--bin", 4, "--smooth", 1, "--max-iter", 8)
    done = run("psnmf", store, "-o", tmp_path / "r.zarr", *words, "--absent", "Fp:Si", "--keep-axis", "-q")
    assert done.exit_code == 0, done.output
    said = edxdask.open(tmp_path / "r.zarr").attrs["history"][-1]
    assert said.endswith("bin=4, smooth=1, absent={'Fp': ['Si']}, refine_axis=False)")


def test_beam_energy_of_the_command_line_stays_with_the_result(run, store, tmp_path):
    cube = edxdask.open(store)
    bare = cube.copy()
    bare.attrs = {k: v for k, v in cube.attrs.items() if k != "beam_energy_kev"}
    edxdask.save(bare, tmp_path / "bare.zarr")
    edxdask.save(edxdask.collect({"a": bare, "b": bare}), tmp_path / "two.zarr")
    for name in ("bare", "two"):
        out = tmp_path / f"{name}-phases.zarr"
        words = ("--elements", "O,Mg,Si,Ca,Fe", "--phases", 2, "--max-iter", 5, "--beam-energy", 120)
        done = run("nmf", tmp_path / f"{name}.zarr", "-o", out, *words, "-q")
        assert done.exit_code == 0, done.output
        kept = edxdask.open(out)
        nodes = [kept] if name == "bare" else kept.children.values()
        assert [node.attrs["beam_energy_kev"] for node in nodes] == [120.0] * len(nodes)


def test_two_runs_towards_one_target_do_not_both_work(run, store, tmp_path):
    from edxdask.cli.targets import claimed

    with claimed(str(tmp_path / "r.zarr")):
        done = run("nmf", store, "-o", tmp_path / "r.zarr")
    assert done.exit_code == 1
    assert "another run" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_vendor_file_where_a_store_is_expected_gets_the_command_to_type(run, tmp_path):
    (tmp_path / "map.bcf").write_bytes(b"anything")
    done = run("psnmf", tmp_path / "map.bcf", "-o", tmp_path / "out.zarr")
    assert done.exit_code == 1
    assert f"edxdask ingest {tmp_path / 'map.bcf'} -o map.zarr" in " ".join(done.output.split())


def test_a_prior_that_does_not_exist_is_refused_before_any_work(tmp_path):
    cube = edxdask.simulate(shape=(16, 16), counts=20)
    with pytest.raises(ParameterError, match=r"prior='hubr': expected 'tv' or 'laplacian'"):
        edxdask.psnmf(cube, prior="hubr")
    with pytest.raises(ParameterError, match="smooth='auto'"):
        edxdask.psnmf(cube, smooth="auto")
