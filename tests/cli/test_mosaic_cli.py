"""``edxdask mosaic``: what it writes and prints, and how it fails."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

import edxdask

GRID = ("--grid", "1x3", "--overlap", "0.25")


def one_line(result):
    lines = [line for line in result.stderr.splitlines() if line]
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three maps in a row, cut from one simulated map at whole pixels, and their phases."""
    path = tmp_path_factory.mktemp("mosaic")
    whole = edxdask.simulate(shape=(48, 124), counts=60, grain=8, channels=300, energy_scale=0.03, seed=3)
    rng = np.random.default_rng(0)
    haadf = np.tensordot([0.4, 1.0, 2.2], whole.truth_abundance.values, axes=1)
    whole["haadf"] = (("y", "x"), (haadf + 0.02 * rng.normal(size=haadf.shape)).astype(np.float32))
    corners = {"a1": (0, 0), "a2": (3, 37), "a10": (1, 73)}
    maps = {}
    for name, (y, x) in corners.items():
        cut = whole[["counts", "haadf"]].isel(y=slice(y, y + 44), x=slice(x, x + 48)).load()
        maps[name] = cut.assign_coords(y=whole.y[:44], x=whole.x[:48])
    tree = edxdask.collect(maps)
    edxdask.save(tree, path / "maps.zarr")
    edxdask.save(edxdask.nmf(tree, phases=3, max_iter=40), path / "phases.zarr")
    edxdask.save(edxdask.pca(tree, components=2), path / "components.zarr")
    return path


def test_maps_become_one_store_with_a_table_and_a_figure(run, folder, tmp_path):
    out, figure = tmp_path / "m.zarr", tmp_path / "p.png"
    done = run("mosaic", folder / "maps.zarr", "-o", out, *GRID, "--figure", figure)
    assert done.exit_code == 0, done.stderr
    made = edxdask.open(out)
    assert made.tile.values.tolist() == ["a1", "a2", "a10"]  # numbers in names are numbers
    assert (made.tile_origin.values - made.tile_origin.values[0]).tolist() == [[0, 0], [3, 37], [1, 73]]
    assert int(made.counts.sum()) == sum(
        int(one.counts.sum()) for one in edxdask.open(folder / "maps.zarr").children.values()
    )
    assert "3 maps, 2 of 2 pairs, residual 0.00 px rms, placed on haadf" in done.stdout
    assert "a2, a10" in done.stdout
    assert done.stdout.splitlines()[-2:] == [str(out), str(figure)]
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_json_holds_the_store_the_tiles_and_the_pairs(run, folder, tmp_path):
    done = run("mosaic", folder / "maps.zarr", "-o", tmp_path / "m.zarr", *GRID, "--json")
    found = json.loads(done.stdout)
    assert found["kind"] == "store"
    assert [round(tile["x"]) for tile in found["tiles"]] == [0, 37, 73]
    assert {pair["pair_used"] for pair in found["pairs"]} == {True}
    assert all(abs(pair["pair_residual_x"]) < 0.05 for pair in found["pairs"])


def test_phases_go_on_a_canvas_and_counts_follow_by_their_placement(run, folder, tmp_path):
    done = run("mosaic", folder / "phases.zarr", "-o", tmp_path / "p.zarr", "--image", "abundance", *GRID)
    assert done.exit_code == 0, done.stderr
    assert "placed on abundance" in done.stdout
    phases = edxdask.open(tmp_path / "p.zarr")
    assert phases.abundance.dims == ("phase", "y", "x")
    done = run(
        "mosaic",
        folder / "maps.zarr",
        "-o",
        tmp_path / "m.zarr",
        "--placement",
        tmp_path / "p.zarr",
        "--json",
    )
    assert json.loads(done.stdout)["pairs"] == []
    counts = edxdask.open(tmp_path / "m.zarr")
    assert counts.counts.shape[:2] == phases.abundance.shape[1:]
    np.testing.assert_array_equal(counts.tile_origin, phases.tile_origin)
    for verb in (("export", tmp_path / "p.zarr", tmp_path / "p.png"), ("info", tmp_path / "m.zarr"),
                 ("export", tmp_path / "m.zarr", tmp_path / "q.png", "--figure", "placement")):  # fmt: skip
        assert run(*verb).exit_code == 0


def test_line_maps_of_a_mosaic_are_counts_per_exposure(run, folder, tmp_path):
    run("mosaic", folder / "maps.zarr", "-o", tmp_path / "m.zarr", *GRID)
    done = run("export", tmp_path / "m.zarr", tmp_path / "mg.csv", "--map", "Mg_Ka")
    assert done.exit_code == 0, done.stderr
    rows = (tmp_path / "mg.csv").read_text().splitlines()[1:]
    written = np.array([[float(cell) if cell else np.nan for cell in row.split(",")[1:]] for row in rows])
    made = edxdask.open(tmp_path / "m.zarr")
    counts, exposure = made.edx.line_map("Mg_Ka").values, made.exposure.values
    seen = exposure > 0
    np.testing.assert_allclose(written[seen], counts[seen] / exposure[seen], rtol=1e-4)
    assert exposure.max() == 2.0


def test_positions_come_from_a_file(run, folder, tmp_path):
    whole = edxdask.open(folder / "maps.zarr")["a1"]
    step = float(whole.y[1] - whole.y[0])
    table = tmp_path / "positions.csv"
    lines = [f"{name},{y * step},{x * step}" for name, y, x in (("a1", 0, 0), ("a2", 2, 38), ("a10", 0, 74))]
    table.write_text("\n".join(["name,y,x", "# by hand", *lines]))
    done = run("mosaic", folder / "maps.zarr", "-o", tmp_path / "m.zarr", "--positions", table, "--json")
    assert [round(tile["x"]) for tile in json.loads(done.stdout)["tiles"]] == [0, 37, 73]
    kept = run(
        "mosaic",
        folder / "maps.zarr",
        "-o",
        tmp_path / "n.zarr",
        "--positions",
        table,
        "--image",
        "none",
        "--json",
    )
    assert [round(tile["x"]) for tile in json.loads(kept.stdout)["tiles"]] == [0, 38, 74]


@pytest.mark.parametrize(
    ("words", "says", "advises"),
    [
        ((), "--grid is missing", "--grid 1x3"),
        (("--grid", "2x2"), "--grid 2x2", "--grid 1x3"),
        (("--grid", "1by3"), "is not a shape", "as in 2x4"),
        (("--grid", "1x3", "--overlap", "some"), "expected a fraction of a map", "0.1"),
        (("--grid", "1x3", "--overlap", "1.2"), "--overlap 1.2: expected a fraction", "0 to 1"),
        (
            ("--grid", "1x3", "--image", "bse"),
            "--image bse: expected an image that the maps have: haadf",
            "Fe_Ka",
        ),
        (
            ("--grid", "1x3", "--prior-px", "-1"),
            "--prior-px -1: expected how far a map may be off",
            "--prior-px 3",
        ),
        (("--placement", "{maps}"), "--placement {maps}: expected a mosaic", "edxdask mosaic"),
        (("--positions", "nowhere.csv"), "there is no such file", "nowhere.csv"),
        (("--grid", "1x3", "--figure", "a.txt"), "--figure a.txt", ".png, .pdf, .svg"),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_the_command(run, folder, tmp_path, words, says, advises):
    given = [word.format(maps=folder / "maps.zarr") for word in words]
    done = run("mosaic", folder / "maps.zarr", "-o", tmp_path / "m.zarr", *given)
    assert done.exit_code == 2 or "no such file" in says
    assert says.format(maps=folder / "maps.zarr") in done.stderr
    assert advises in done.stderr
    assert "None" not in done.stderr
    assert not (tmp_path / "m.zarr").exists()


def test_maps_apart_are_told_how_to_be_placed_all_the_same(run, folder, tmp_path):
    words = ("mosaic", folder / "maps.zarr", "-o", tmp_path / "m.zarr", "--positions", tmp_path / "far.csv")
    (tmp_path / "far.csv").write_text("a1,0,0\na2,0,4000\na10,0,8000\n")
    done = run(*words)
    assert done.exit_code == 2
    assert "no two of the 3 maps do" in one_line(done)
    assert "--image none" in done.stderr
    assert run(*words, "--image", "none").exit_code == 0


def test_what_is_no_map_is_refused(run, folder, tmp_path):
    done = run("mosaic", folder / "components.zarr", "-o", tmp_path / "m.zarr")
    assert done.exit_code == 2
    assert "this one holds a result of principal components" in one_line(done)


def test_a_target_that_exists_is_kept_until_it_may_be_replaced(run, folder, tmp_path):
    words = ("mosaic", folder / "maps.zarr", "-o", tmp_path / "m.zarr", *GRID)
    assert run(*words).exit_code == 0
    assert "--overwrite replaces it" in one_line(run(*words))
    assert run(*words, "--overwrite").exit_code == 0


@pytest.mark.slow
def test_an_interrupted_mosaic_leaves_nothing_half_written_and_is_continued(tmp_path):
    """Ctrl-C while it is written: no store, and ``--resume`` gives the same counts."""
    one = edxdask.simulate(
        shape=(320, 320), counts=30, channels=600, energy_scale=0.015, out=tmp_path / "one.zarr"
    )
    tree = xr.DataTree.from_dict({name: one[["counts"]] for name in "abcd"})
    edxdask.save(tree, tmp_path / "maps.zarr")
    out = tmp_path / "m.zarr"
    placed = ("--grid", "2x2", "--image", "none", "-q")
    maps = str(tmp_path / "maps.zarr")
    words = [sys.executable, "-m", "edxdask", "mosaic", maps, "-o", str(out), *placed]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    journal = tmp_path / "m.zarr.partial" / "journal"
    while process.poll() is None and not list(journal.glob("*/*.npz")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "--resume" in said
    assert not out.exists()
    subprocess.run([*words, "--resume"], check=True, capture_output=True)
    assert int(edxdask.open(out).counts.sum()) == 4 * int(one.counts.sum())
    assert not (tmp_path / "m.zarr.partial").exists()
