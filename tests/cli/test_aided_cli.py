"""``edxdask aided``: a result in a store, a summary for people and programs, errors in options."""

import json

import imagecodecs
import numpy as np
import pytest

import edxdask

ELEMENTS = ["O", "Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "U", "Cu"]
KNOWN = ("--matrix", "Brg", "--absent", "Fp:Si", "--absent", "CaPv:Mg")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A map, its phases, a collection of it and its mirror image, and a mask."""
    home = tmp_path_factory.mktemp("aided")
    cube = edxdask.simulate(shape=(56, 56), counts=150, seed=4).load()
    edxdask.save(cube, home / "map.zarr")
    known = {"phases": ["Brg", "Fp", "CaPv"], "elements": ELEMENTS, "absent": {"Fp": "Si", "CaPv": "Mg"}}
    edxdask.save(edxdask.psnmf(cube, bin=4, smooth=1.0, progress=False, **known), home / "phases.zarr")
    edxdask.save(edxdask.collect({"left": cube, "right": cube.isel(x=slice(40))}), home / "both.zarr")
    mask = (cube.truth_abundance.sel(phase="CaPv").values > 0.15).astype("u1") * 255
    (home / "capv.png").write_bytes(imagecodecs.png_encode(mask))
    masks = home / "masks"
    masks.mkdir()
    np.save(masks / "left.npy", mask > 0)
    (masks / "right.png").write_bytes(imagecodecs.png_encode(mask[:, :40]))
    return home


def test_a_result_is_written_and_said(run, folder, tmp_path):
    out = tmp_path / "un.zarr"
    done = run(
        "aided",
        folder / "map.zarr",
        "-o",
        out,
        *KNOWN,
        "--result",
        folder / "phases.zarr",
        "--masks",
        "otsu",
        "-q",
    )
    assert done.exit_code == 0, done.output
    assert "Fp: otsu, CaPv: otsu" in done.output
    assert "farther than" in done.output
    assert "O at.%" in done.output
    result = edxdask.open(out)
    assert {"mask", "core", "mask_overlap", "composition_subtracted"} <= set(result.data_vars)
    picture = tmp_path / "masks.png"
    assert run("export", out, picture, "--figure", "masks").exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_masks_are_mixed_and_programs_get_one_object(run, folder, tmp_path):
    words = (
        "--masks",
        "Fp:threshold",
        "--threshold",
        "0.2",
        "--user-mask",
        f"CaPv:{folder}/capv.png",
        "--core",
        "2",
    )
    done = run(
        "aided", folder / "map.zarr", "-o", tmp_path / "un.zarr", *KNOWN,
        "--result", folder / "phases.zarr", *words, "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["mask_methods"] == ["Fp: threshold", "CaPv: user"]
    assert said["core_width_px"] == 2
    assert said["composition"]["Brg"]["Mg"] == pytest.approx(0.184, abs=0.01)
    assert set(said["composition_subtracted_std"]) == {"Brg", "Fp", "CaPv"}


def test_masks_of_a_collection_are_in_a_folder(run, folder, tmp_path):
    out = tmp_path / "un.zarr"
    words = ("--masks", "Fp:potts", "--user-mask", f"CaPv:{folder}/masks")
    pytest.importorskip("maxflow")
    done = run(
        "aided", folder / "both.zarr", "-o", out, *KNOWN, "--result", folder / "phases.zarr", *words, "-q"
    )
    assert done.exit_code == 0, done.output
    tree = edxdask.open(out)
    assert tree["right"].mask.shape == (3, 56, 40)
    (folder / "masks" / "right.png").rename(folder / "masks" / "wrong.png")
    done = run(
        "aided", folder / "both.zarr", "-o", out, *KNOWN, *words, "--overwrite", "--elements", "O,Mg,Si,Ca,Fe"
    )
    (folder / "masks" / "wrong.png").rename(folder / "masks" / "right.png")
    assert done.exit_code == 2
    assert "one file for the map right" in done.output


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([*KNOWN[:4], "--masks", "otsu"], 2, "Name one that the matrix holds, as in --absent CaPv:Si"),
        (
            [*KNOWN, "--masks", "CaPv:otsu"],
            2,
            "Choose a method, --masks Fp:otsu, or draw it: --user-mask Fp:mask.png",
        ),
        ([*KNOWN, "--masks", "magic"], 2, "--masks magic: expected one of potts"),
        ([*KNOWN, "--masks", "otsu", "--masks", "Fp:otsu"], 2, "one method for all, or one for each phase"),
        ([*KNOWN, "--user-mask", "capv.png"], 2, "expected PHASE:FILE, as in Fp:fp.png"),
        ([*KNOWN, "--masks", "otsu", "--user-mask", "CaPv:nothing.png"], 2, "nothing.png: there is no"),
        ([*KNOWN, "--masks", "otsu", "--core", "99"], 2, "--core 99: expected a width that leaves 50 pixels"),
        ([*KNOWN, "--masks", "otsu", "--core", "some"], 2, "not 'auto'"),
        ([*KNOWN[2:], "--masks", "otsu"], 2, "--matrix"),
        (["--matrix", "Mgw", *KNOWN[2:], "--masks", "otsu"], 2, "--matrix Mgw: expected one of the phases"),
        ([*KNOWN, "--masks", "otsu", "--threshold", "2"], 2, "--threshold 2: expected an abundance"),
    ],
)  # fmt: skip
def test_a_wrong_call_gets_one_line_in_the_words_of_the_command_line(
    run, folder, tmp_path, words, code, says
):
    done = run(
        "aided",
        folder / "map.zarr",
        "-o",
        tmp_path / "un.zarr",
        "--result",
        folder / "phases.zarr",
        *words,
        "-q",
    )
    assert done.exit_code == code
    assert says in " ".join(done.output.split())
    assert not (tmp_path / "un.zarr").exists()


def test_what_is_no_result_is_refused(run, folder, tmp_path):
    done = run(
        "aided", folder / "map.zarr", "-o", tmp_path / "un.zarr", *KNOWN, "--result", folder / "map.zarr"
    )
    assert done.exit_code == 2
    assert "a result of a factorization, which aided needs" in done.output
