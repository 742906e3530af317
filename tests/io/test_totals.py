"""Totals that differ: by how much, what that may mean, and what to do."""

from __future__ import annotations

import pytest
from synthetic_reader import SPEC, true_counts, write_source

from edxdask.errors import VendorFileError
from edxdask.io.ingest import ingest_with
from edxdask.io.totals import Totals
from edxdask.io.vendor.base import ReadOptions

FIELDS = {"shape": [20, 10], "channels": 30, "seed": 3, "mean": 2.0}
TOTAL = int(true_counts(FIELDS).sum())


def run(tmp_path, **fields):
    source = write_source(tmp_path / "map.json", **FIELDS, **fields)
    return ingest_with(source, tmp_path / "out.zarr", options=ReadOptions(), reader=SPEC)


@pytest.mark.parametrize(("told", "word"), [(2 * TOTAL, "fewer"), (TOTAL // 2, "more")])
def test_a_large_difference_says_what_it_means_and_stays_with_the_store(tmp_path, caplog, told, word):
    ds = run(tmp_path, total=told, exact=False)
    (warning,) = ds.attrs["warnings"]
    assert warning == ds.attrs["history"][-1]
    assert warning in caplog.text
    assert f"the file says {told} photons, {TOTAL} were decoded" in warning
    assert f"% {word}, against its own sum spectrum" in warning
    assert "Compare the sum over the map in the vendor's program with both figures" in warning
    assert "The map was stored as decoded" in warning


def test_a_small_difference_is_history_and_no_warning(tmp_path):
    ds = run(tmp_path, total=TOTAL + 1, exact=False)
    assert ds.attrs["history"][-1] == f"the file says {TOTAL + 1} photons, {TOTAL} were decoded"
    assert "warnings" not in ds.attrs


def test_where_whole_files_agree_to_the_last_photon_nothing_is_stored(tmp_path):
    with pytest.raises(VendorFileError, match=r"Nothing was stored.*no option helps") as caught:
        run(tmp_path, total=TOTAL + 1)
    assert caught.value.stage == "checking totals"
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize(("told", "decoded"), [(0, 5), (5, 0), (100, 99), (100, 102)])
def test_any_two_totals_can_be_compared(told, decoded):
    totals = Totals(told, False, "", (), decoded)
    assert totals.notable == (abs(told - decoded) > 0.01 * told)
    assert f"{told} photons, {decoded} were" in totals.difference


def test_without_an_account_there_is_no_difference():
    totals = Totals(None, True, "its sum spectrum is gone", ("it was rounded",), 7)
    assert not totals.differ
    assert totals.warnings == ["it was rounded"]
    assert totals.lines == ["it was rounded", "not all counts could be verified: its sum spectrum is gone"]
