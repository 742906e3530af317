"""``ingest`` of files of one tilt each: checked by their headers first, then stored in the order of tilts."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from made_files import counts_of, write_hspy, write_rpl

import edxdask
from edxdask.errors import EdxdaskError, ParameterError, SchemaError

STAGE = "Experiments/map/metadata/Acquisition_instrument/TEM/Stage"


def tilted_file(path, tilt, *, shape=(6, 7, 20), seed=0, step=2.0):
    """A HyperSpy file whose stage says ``tilt``; None: it says nothing."""
    counts = counts_of(shape, seed=seed)
    write_hspy(path, counts)
    with h5py.File(path, "a") as file:
        if tilt is None:
            del file[STAGE].attrs["tilt_alpha"]
        else:
            file[STAGE].attrs["tilt_alpha"] = tilt
        for axis in ("axis-0", "axis-1"):
            file[f"Experiments/map/{axis}"].attrs["scale"] = step
    return path, counts


@pytest.fixture
def three(tmp_path):
    """Files in no order, and their counts by tilt."""
    made = {
        t: tilted_file(tmp_path / f"{n}.hspy", t, seed=i)
        for i, (n, t) in enumerate(zip("cab", (0.0, 30.0, -30.0), strict=True))
    }
    return [path for path, _ in made.values()], {tilt: counts for tilt, (_, counts) in made.items()}


def test_files_are_stored_in_the_order_of_their_tilts(three, tmp_path):
    paths, counts = three
    tree = edxdask.ingest(paths, tmp_path / "series.zarr", tilts=True)
    assert list(tree.children) == ["00_b", "01_c", "02_a"]
    assert [node.attrs["tilt_alpha_deg"] for node in tree.children.values()] == [-30, 0, 30]
    series = edxdask.collect_tilts(tmp_path / "series.zarr")
    for tilt, expected in counts.items():
        np.testing.assert_array_equal(series.counts.sel(tilt=tilt), expected)
    assert series.tilt_map.values.tolist() == ["00_b", "01_c", "02_a"]
    assert "tilt_dose" in series


def test_given_tilts_are_kept_with_the_maps(three, tmp_path):
    paths, counts = three
    tree = edxdask.ingest(paths, tmp_path / "series.zarr", tilts=[5, -5, 0])
    assert [node.attrs["tilt_alpha_deg"] for node in tree.children.values()] == [-5, 0, 5]
    series = edxdask.collect_tilts(tree)
    np.testing.assert_array_equal(series.counts.sel(tilt=5), counts[0.0])


def test_an_interrupted_series_goes_on_and_is_as_one_made_without_a_break(three, tmp_path):
    paths, _ = three

    def stop(event):
        if event.label.endswith("01_c"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        edxdask.ingest(paths, tmp_path / "s.zarr", tilts=True, progress=stop)
    assert "--tilts auto --resume" in "".join(caught.value.__notes__)
    with pytest.raises(EdxdaskError):
        edxdask.ingest(paths, tmp_path / "s.zarr", tilts=[1, 2, 3], resume=True)
    edxdask.ingest(paths, tmp_path / "s.zarr", tilts=True, resume=True)
    whole = edxdask.ingest(paths, tmp_path / "whole.zarr", tilts=True)
    assert edxdask.open(tmp_path / "s.zarr").equals(whole)


@pytest.mark.parametrize(
    ("changed", "tilts", "error", "says"),
    [
        ({"tilt": 30.0}, True, ParameterError, "each tilt once"),
        ({"tilt": None}, True, ParameterError, "which the data do not say"),
        ({"tilt": 10.0}, [1, 2], ParameterError, "4 numbers"),
        ({"tilt": 10.0, "step": 3.0}, True, SchemaError, "a series has one pixel size"),
        ({"tilt": 10.0, "shape": (6, 7, 21)}, True, SchemaError, "energy axis"),
    ],
)
def test_files_that_make_no_series_are_refused_before_anything_is_decoded(
    three, tmp_path, changed, tilts, error, says
):
    paths, _ = three
    other, _ = tilted_file(tmp_path / "other.hspy", **changed)
    with pytest.raises(error, match=says):
        edxdask.ingest([*paths, other], tmp_path / "series.zarr", tilts=tilts)
    assert not list(tmp_path.glob("series.zarr*"))


def test_a_file_given_twice_and_one_file_alone_are_no_series(three, tmp_path):
    paths, _ = three
    with pytest.raises(ParameterError, match="each file once"):
        edxdask.ingest([paths[0], paths[1], paths[0]], tmp_path / "s.zarr", tilts=True)
    with pytest.raises(ParameterError, match="one file per tilt"):
        edxdask.ingest(paths[0], tmp_path / "s.zarr", tilts=True)
    with pytest.raises(ParameterError, match="two maps or more"):
        edxdask.ingest(paths[:1], tmp_path / "s.zarr", tilts=True)
    cube = edxdask.simulate(shape=(4, 4), counts=3)
    with pytest.raises(ParameterError, match="collect_tilts"):
        edxdask.ingest(cube, tmp_path / "s.zarr", tilts=True)


def test_files_that_say_no_tilt_can_be_given_theirs(tmp_path):
    paths = [write_rpl(tmp_path / f"{i}.rpl", counts_of((4, 5, 10), seed=i)) for i in range(3)]
    with pytest.raises(ParameterError, match="tilts=\\["):
        edxdask.ingest(paths, tmp_path / "s.zarr", tilts=True)
    tree = edxdask.ingest(paths, tmp_path / "s.zarr", tilts=[10, 0, -10])
    assert list(tree.children) == ["00_2", "01_1", "02_0"]
