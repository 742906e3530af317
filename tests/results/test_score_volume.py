"""Scores of volumes against figures computed at once, over chunks, orders and numbers of phases."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from volume_samples import LABELS, sample_volume, three_phases

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.results.score_volume import score_volume
from edxdask.results.volume_places import moved


def truth_of(values, labels=LABELS):
    return xr.Dataset({schema.TRUTH_VOLUME: (("phase", "z", "y", "x"), values)}, {schema.PHASE: list(labels)})


@pytest.mark.parametrize("chunks", [None, {"z": 5, "y": 20, "x": 9}])
def test_errors_and_overlaps_are_those_of_the_definition(chunks):
    true = three_phases()
    volume = sample_volume(true[[2, 0, 1]], noise=0.2, chunks=chunks, labels=("c", "a", "b"))
    found = score_volume(volume, truth_of(true))
    assert found.matched == ("a", "b", "c")
    mine = volume.volume.values[[1, 2, 0]].astype(float)
    rmse = np.sqrt(((mine - true) ** 2).mean(axis=(1, 2, 3)))
    inside, true_inside = mine >= 0.5, true >= 0.5
    both, either = (inside & true_inside).sum((1, 2, 3)), inside.sum((1, 2, 3)) + true_inside.sum((1, 2, 3))
    assert found.rmse == pytest.approx(rmse, rel=1e-4)
    assert found.dice == pytest.approx(2 * both / either)
    assert found.all_rmse == pytest.approx(np.sqrt((rmse**2).sum()), rel=1e-4)
    assert found.volume_error == pytest.approx(mine.sum((1, 2, 3)) / true.sum((1, 2, 3)) - 1, rel=1e-3)


def test_the_truth_itself_has_no_error():
    found = score_volume(sample_volume(), truth_of(three_phases()))
    assert found.all_rmse < 1e-3  # single precision of the sums
    assert found.dice.tolist() == [1, 1, 1]
    assert "RMSE of all phases" in repr(found)
    assert json.loads(json.dumps(found.to_dict()))["phases"] == list(LABELS)


@pytest.mark.parametrize("axis", ["y", "x"])
def test_a_volume_that_moves_of_projections_put_elsewhere_is_compared_where_it_is(axis):
    """What is moved by 2 along z, -1 along the axis, 0.5 across it has projections moved the other way."""
    volume = sample_volume().assign_attrs({schema.TILT_AXIS: axis})
    other = {"y": "x", "x": "y"}[axis]
    angles, by = np.radians(volume.tilt.values), {"z": 2.0, axis: -1.0, other: 0.5}
    shifts = {axis: volume[f"tilt_shift_{axis}"] + by[axis]}
    across = by[other] * np.cos(angles) + by["z"] * np.sin(angles)
    shifts[other] = volume[f"tilt_shift_{other}"] + xr.DataArray(across, dims="tilt")
    truth = truth_of(three_phases()).assign({f"truth_shift_{dim}": one for dim, one in shifts.items()})
    lies = volume.assign(volume=moved(volume.volume, by).astype("f4"))
    found = score_volume(lies, truth.isel(tilt=slice(None, None, -1)))
    assert found.moved_px == pytest.approx(by, abs=1e-6)
    assert found.all_rmse < 1e-3
    assert "+2.00 along z" in repr(found)
    assert score_volume(lies, truth_of(three_phases())).all_rmse > 0.1
    unlike = truth.assign_coords(tilt=truth.tilt + 1)
    assert score_volume(lies, unlike).moved_px == {}


def test_a_phase_that_was_not_found_counts_with_all_of_it():
    true = three_phases()
    found = score_volume(sample_volume(true[:2], labels=LABELS[:2]), truth_of(true))
    assert found.matched == ("Brg", "Fp", "")
    assert found.rmse[2] == pytest.approx(np.sqrt((true[2] ** 2).mean()), rel=1e-5)
    assert found.dice[2] == 0
    assert found.volume_error[2] == -1
    assert "-" in repr(found)


def test_another_volume_is_a_truth_too():
    assert score_volume(sample_volume(), sample_volume()).all_rmse < 1e-3
    assert score_volume(sample_volume(), sample_volume().volume).matched == LABELS


@pytest.mark.parametrize(
    ("truth", "error", "said"),
    [
        (lambda v: xr.Dataset({"total": v.volume[0, 0]}), SchemaError, "truth_volume"),
        (lambda v: v.volume[0], SchemaError, "truth has dims"),
        (lambda v: v.volume[:, 1:-1], ParameterError, "depth=22"),
        (lambda v: v.volume[:, :, 1:], ParameterError, "the voxels of the volume"),
        (lambda v: v.volume.values, ParameterError, "simulated tilt series"),
    ],
)
def test_what_is_no_truth_is_refused(truth, error, said):
    volume = sample_volume()
    with pytest.raises(error, match=said):
        score_volume(volume, truth(volume))


def test_photons_have_no_true_fractions():
    with pytest.raises(SchemaError, match="photons"):
        score_volume(sample_volume(kind="photons"), truth_of(three_phases()))
