from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from synthetic_reader import SPEC, true_counts, write_source

from edxdask.errors import ParameterError, StoreBusyError, StoreExistsError, VendorFileError
from edxdask.ingestion import ingest
from edxdask.io import checksum, from_array, open_store, store_info, verify
from edxdask.io.ingest import ingest_with
from edxdask.io.remote import Limits
from edxdask.io.target import partial_path
from edxdask.io.vendor.base import ReadOptions

FIELDS = {"shape": [200, 70], "channels": 30, "seed": 3}
LIMITS = Limits(cpu_seconds=20, memory_bytes=4 << 30)


def run(src, out, *, options=None, limits=LIMITS, **rest):
    return ingest_with(src, out, options=options or ReadOptions(), reader=SPEC, limits=limits, **rest)


def test_a_file_becomes_a_cube_with_its_units_image_and_origin(tmp_path):
    source = write_source(tmp_path / "map.json", **FIELDS, total=int(true_counts(FIELDS).sum()))
    ds = run(source, tmp_path / "out.zarr")
    assert (ds.counts.values == true_counts(FIELDS)).all()
    assert ds.counts.dtype == np.uint16
    assert (ds.energy.values == -0.05 + np.arange(30) * 0.01).all()
    assert ds.x.values[:3].tolist() == [0.0, 2.0, 4.0]
    assert ds.haadf.dims == ("y", "x")
    assert float(ds.haadf[1, 2]) == 72.0
    assert ds.attrs["beam_energy_kev"] == 200.0
    assert ds.attrs["source_file"] == "map.json"
    digest = subprocess.run(["sha256sum", source], capture_output=True, text=True, check=True).stdout.split()[
        0
    ]
    assert ds.attrs["source_sha256"] == digest
    assert json.loads(ds.attrs["vendor_metadata"]) == {"maker": "synthetic", "array": [0, 1, 2], "raw": "abc"}
    assert "synthetic reader" in ds.attrs["history"][-1]
    assert verify(tmp_path / "out.zarr") == true_counts(FIELDS).sum()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map.json", "out.zarr"]


def test_two_ingests_of_one_file_give_the_same_bytes(tmp_path):
    source = write_source(tmp_path / "map.json", **FIELDS)
    backwards = write_source(tmp_path / "sub.json", **FIELDS)
    run(source, tmp_path / "a.zarr")
    run(source, tmp_path / "b.zarr")
    assert checksum(tmp_path / "a.zarr") == checksum(tmp_path / "b.zarr")
    assert checksum(run_and_path(backwards, tmp_path / "c.zarr")) != checksum(
        tmp_path / "a.zarr"
    )  # other name


def run_and_path(source, out):
    run(source, out)
    return out


def test_counts_above_65535_survive(tmp_path):
    fields = {**FIELDS, "hot": [[190, 3, 7, 400_000]]}
    ds = run(write_source(tmp_path / "map.json", **fields), tmp_path / "out.zarr")
    assert ds.counts.dtype == np.uint32
    assert (ds.counts.values == true_counts(fields)).all()


def test_totals_that_differ_are_an_error_where_the_file_is_exact(tmp_path):
    source = write_source(tmp_path / "map.json", **FIELDS, total=17)
    with pytest.raises(VendorFileError, match=r"checking totals: the file says 17 photons, \d+ were decoded"):
        run(source, tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()


def test_counts_that_nothing_vouches_for_are_a_warning_and_history(tmp_path, caplog):
    source = write_source(tmp_path / "map.json", **FIELDS, unverified="its sum spectrum is gone")
    ds = run(source, tmp_path / "out.zarr")
    for text in (caplog.text, ds.attrs["history"][-1]):
        assert "not all counts could be verified: its sum spectrum is gone" in text


def test_totals_that_differ_are_a_warning_and_history_where_it_is_not(tmp_path, caplog):
    source = write_source(tmp_path / "map.json", **FIELDS, total=17, exact=False)
    ds = run(source, tmp_path / "out.zarr")
    assert "the file says 17 photons" in caplog.text
    assert "the file says 17 photons" in ds.attrs["history"][-1]


def test_several_files_and_several_maps_make_a_collection_with_unique_names(tmp_path):
    (tmp_path / "other").mkdir()
    a = write_source(tmp_path / "map 1.json", **{**FIELDS, "seed": 1})
    b = write_source(tmp_path / "other" / "map 1.json", **{**FIELDS, "seed": 2})
    tree = run([a, b], tmp_path / "files.zarr")
    assert list(tree.children) == ["map_1", "map_1_2"]
    assert (tree["map_1_2"].counts.values == true_counts({**FIELDS, "seed": 2})).all()
    many = write_source(tmp_path / "many.json", **{**FIELDS, "maps": 3})
    tree = run(many, tmp_path / "maps.zarr", options=ReadOptions(detectors="separate"))
    assert list(tree.children) == ["many_detector_0", "many_detector_1", "many_detector_2"]
    assert (tree["many_detector_2"].counts.values == true_counts(FIELDS, 2)).all()
    assert isinstance(run(many, tmp_path / "one.zarr"), xr.Dataset)
    assert list(run([a], tmp_path / "list.zarr").children) == ["map_1"]


def test_a_file_that_fails_early_leaves_nothing_and_late_leaves_what_was_finished(tmp_path):
    early = write_source(tmp_path / "early.json", **FIELDS, when="open", how="segfault")
    with pytest.raises(VendorFileError):
        run(early, tmp_path / "early.zarr")
    assert not partial_path(tmp_path / "early.zarr").exists()
    log = tmp_path / "log"
    fields = {**FIELDS, "when": "band 128", "how": "raise", "log": str(log)}
    late = write_source(tmp_path / "late.json", **fields)
    with pytest.raises(VendorFileError, match="rows 128-191"):
        run(late, tmp_path / "late.zarr")
    with pytest.raises(StoreExistsError, match="--resume"):
        run(late, tmp_path / "late.zarr")
    with pytest.raises(VendorFileError, match="rows 128-191"):
        run(late, tmp_path / "late.zarr", resume=True)
    assert log.read_text().split() == ["0", "64", "128", "128"]


def test_resume_refuses_another_file_or_other_options(tmp_path):
    source = write_source(tmp_path / "map.json", **FIELDS, when="band 128", how="raise")
    with pytest.raises(VendorFileError):
        run(source, tmp_path / "out.zarr")
    with pytest.raises(ParameterError, match="detectors was 'sum', is 'separate'"):
        run(source, tmp_path / "out.zarr", resume=True, options=ReadOptions(detectors="separate"))
    write_source(source, **FIELDS)
    with pytest.raises(ParameterError, match="sources was"):
        run(source, tmp_path / "out.zarr", resume=True)
    run(source, tmp_path / "out.zarr", overwrite=True)
    assert verify(tmp_path / "out.zarr") == true_counts(FIELDS).sum()


def test_an_unfinished_ingest_says_the_command_that_continues_it(tmp_path):
    source = write_source(tmp_path / "map.json", **FIELDS, when="band 128", how="raise")
    with pytest.raises(VendorFileError):
        run(source, tmp_path / "out.zarr", options=ReadOptions(frames=(0, 3)))
    command = f"edxdask ingest '{source}' -o '{tmp_path / 'out.zarr'}' --frames 0:3 --resume"
    with pytest.raises(Exception, match="not finished") as caught:
        open_store(tmp_path / "out.zarr")
    assert command in str(caught.value)


_SLOW = """
import sys
from edxdask.io.ingest import ingest_with
from edxdask.io.vendor.base import ReadOptions
ingest_with(sys.argv[1], sys.argv[2], options=ReadOptions(), reader=sys.argv[3],
            progress=lambda p: print(p.done, flush=True))
"""


def begin(source, out):
    places = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(
        [sys.executable, "-c", _SLOW, str(source), str(out), SPEC],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": places},
    )


def test_a_second_ingest_to_the_same_place_is_refused_and_the_first_is_unharmed(tmp_path):
    hold = tmp_path / "hold"
    hold.touch()
    source = write_source(tmp_path / "map.json", **FIELDS, hold=str(hold))
    first = begin(source, tmp_path / "out.zarr")
    assert int(first.stdout.readline()) == 64 * 70
    with pytest.raises(StoreBusyError, match=f"process {first.pid}"):
        run(source, tmp_path / "out.zarr", resume=True)
    with pytest.raises(StoreBusyError):
        run(source, tmp_path / "out.zarr", overwrite=True)
    hold.unlink()
    _, errors = first.communicate(timeout=240)
    assert first.returncode == 0, errors
    assert verify(tmp_path / "out.zarr") == true_counts(FIELDS).sum()


def test_ctrl_c_ends_the_reader_and_says_how_to_continue(tmp_path):
    hold = tmp_path / "hold"
    hold.touch()
    source = write_source(tmp_path / "map.json", **FIELDS, hold=str(hold))
    process = begin(source, tmp_path / "out.zarr")
    assert int(process.stdout.readline()) == 64 * 70
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=240)
    hold.unlink()
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors
    assert "bands of the current map are safe" in errors
    assert f"edxdask ingest '{source}' -o '{tmp_path / 'out.zarr'}' --resume" in errors
    run(source, tmp_path / "out.zarr", resume=True)
    assert verify(tmp_path / "out.zarr") == true_counts(FIELDS).sum()


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    source = write_source(tmp_path / "map.json", **FIELDS)

    def change(progress):
        os.utime(source, ns=(1, 1))

    with pytest.raises(VendorFileError, match="changed while it was read"):
        run(source, tmp_path / "out.zarr", progress=change)


def test_progress_counts_pixels(tmp_path):
    seen = []
    run(write_source(tmp_path / "map.json", **FIELDS), tmp_path / "out.zarr", progress=seen.append)
    assert [p.done for p in seen] == [64 * 70, 128 * 70, 192 * 70, 200 * 70]
    assert {(p.total, p.unit, p.label) for p in seen} == {(200 * 70, "px", "ingest map.json")}


def test_a_dataset_is_ingested_as_it_is(tmp_path):
    ds = from_array(np.ones((3, 4, 5), "u2"), energy_offset=0.0, energy_scale=0.01)
    assert int(ingest(ds, tmp_path / "out.zarr").counts.sum()) == 60
    assert store_info(tmp_path / "out.zarr").photons == 60


@pytest.mark.parametrize(
    ("src", "options", "text"),
    [
        (np.ones((2, 2, 2), int), {}, r"edxdask\.from_array"),
        ([], {}, "at least one path"),
        ("here", {"frames": (3, 3)}, "first < last"),
        ("here", {"frames": 3}, "first < last"),
        ("here", {"detectors": "all"}, "'sum' or 'separate'"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_made(tmp_path, src, options, text):
    with pytest.raises(ParameterError, match=text):
        ingest(src, tmp_path / "out.zarr", **options)
    assert not list(tmp_path.iterdir())


def test_a_missing_file_a_folder_and_an_empty_file_are_vendor_file_errors(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.emd").touch()
    for name in ("missing.bcf", "folder", "empty.emd"):
        with pytest.raises(VendorFileError, match=name):
            ingest(tmp_path / name, tmp_path / "out.zarr")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty.emd", "folder"]


def test_the_source_is_never_its_own_target(tmp_path):
    source = write_source(tmp_path / "map.json", **FIELDS)
    with pytest.raises(ParameterError, match="another path"):
        run(source, source, overwrite=True)
    assert json.loads(source.read_text()) == FIELDS
