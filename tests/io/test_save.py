from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edxdask.errors import (
    ForeignStoreError,
    ParameterError,
    SchemaError,
    StoreBusyError,
    StoreExistsError,
    StoreWriteError,
)
from edxdask.io import checksum, from_array, open_store, save, store_info, verify
from edxdask.io.target import Target, partial_path

AXIS = {"energy_offset": 0.0, "energy_scale": 0.01}


def cube(shape, *, seed=0, mean=0.05, chunks=None):
    counts = np.random.default_rng(seed).poisson(mean, shape).astype(np.uint16)
    ds = from_array(counts, **AXIS)
    return ds if chunks is None else ds.chunk(chunks)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    y=st.lists(st.integers(1, 90), min_size=1, max_size=3),
    x=st.lists(st.integers(1, 90), min_size=1, max_size=3),
    energy=st.lists(st.integers(1, 5), min_size=1, max_size=2),
)
def test_the_bytes_do_not_depend_on_the_chunks_of_the_source(tmp_path, y, x, energy):
    ds = cube((sum(y), sum(x), sum(energy)), mean=0.3)
    save(ds, tmp_path / "whole.zarr", overwrite=True)
    chunked = ds.chunk({"y": tuple(y), "x": tuple(x), "energy": tuple(energy)})
    back = save(chunked, tmp_path / "pieces.zarr", overwrite=True)
    assert (back.counts.values == ds.counts.values).all()
    assert checksum(tmp_path / "whole.zarr") == checksum(tmp_path / "pieces.zarr")


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int64", "uint32"])
def test_any_integer_dtype_is_stored_as_uint16_where_that_is_enough(tmp_path, dtype):
    ds = cube((5, 6, 7))
    back = save(ds.astype(dtype), tmp_path / "map.zarr")
    assert back.counts.dtype == np.uint16
    assert (back.counts.values == ds.counts.values).all()


@pytest.mark.parametrize("where", [(0, 0, 0), (130, 3, 4), (199, 99, 6)])
def test_a_count_above_65535_makes_the_whole_map_uint32_wherever_it_turns_up(tmp_path, where):
    counts = np.random.default_rng(1).poisson(0.1, (200, 100, 7)).astype(np.uint32)
    counts[where] = 70_000
    back = save(from_array(counts, **AXIS), tmp_path / "map.zarr")
    assert back.counts.dtype == np.uint32
    assert (back.counts.values == counts).all()
    assert verify(tmp_path / "map.zarr") == counts.sum()
    assert store_info(tmp_path / "map.zarr").largest == 70_000


@pytest.mark.parametrize("bad", [-1, 2**33])
def test_counts_that_no_store_holds_are_refused_when_they_turn_up(tmp_path, bad):
    counts = da.from_array(np.full((70, 3, 4), bad, dtype=np.int64), chunks=10)
    with pytest.raises(SchemaError, match="0 to 4294967295"):
        save(from_array(counts, **AXIS), tmp_path / "map.zarr")
    assert not (tmp_path / "map.zarr").exists()


def test_each_source_chunk_is_computed_once_when_it_is_larger_than_a_store_chunk(tmp_path):
    calls, lock = [], threading.Lock()

    def count(block, block_info=None):
        with lock:
            calls.append(block_info[None]["chunk-location"])
        return block

    ds = cube((256, 256, 8), chunks={"y": 128, "x": 256})
    ds = ds.assign(
        counts=(ds.counts.dims, ds.counts.data.map_blocks(count, dtype="u2", meta=np.empty((0, 0, 0), "u2")))
    )
    save(ds, tmp_path / "map.zarr")
    assert sorted(calls) == [(0, 0, 0), (1, 0, 0)]


def test_a_source_chunk_too_large_for_a_tile_is_told_with_the_chunks_that_mend_it(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(sys.modules["edxdask.io.save"], "TILE_BYTES", 64 * 64 * 8 * 2)
    ds = cube((130, 130, 8), chunks={"y": 130, "x": 130})
    back = save(ds, tmp_path / "map.zarr")
    assert "'y': 64, 'x': 64" in caplog.text
    assert (back.counts.values == ds.counts.values).all()


def test_variables_coordinates_text_and_attributes_are_kept_and_old_encoding_is_not(tmp_path):
    ds = cube((70, 66, 5), chunks={"y": 30, "x": 66}).assign(
        valid=(("y", "x"), np.ones((70, 66), bool)),
        truth_abundance=(("phase", "y", "x"), da.random.random((3, 70, 66), chunks=(1, 41, 50))),
        truth_composition=(("phase", "element"), np.eye(3)),
    )
    ds = ds.assign_coords(phase=["a", "bcd", "é"], element=["Fe", "O", "Mg"])
    ds.attrs = {"elements": ["Fe"], "seed": np.int64(3), "live_time_s": float("nan"), "history": ["made"]}
    first = save(ds, tmp_path / "a.zarr")
    xr.testing.assert_equal(
        first.drop_vars("truth_abundance").compute(), ds.drop_vars("truth_abundance").compute()
    )
    assert first.attrs["seed"] == 3
    assert first.attrs["history"] == ["made"]
    assert "live_time_s" not in first.attrs
    assert first.valid.dtype == bool
    smaller = first.isel(y=slice(1, 40), x=slice(3, 50))  # its encoding still speaks of the old chunks
    again = save(smaller, tmp_path / "b.zarr")
    xr.testing.assert_equal(again.compute(), smaller.compute())


def test_a_result_without_counts_is_kept_too(tmp_path):
    result = xr.Dataset({"spectrum": (("phase", "energy"), np.eye(3))}, coords={"phase": ["a", "b", "c"]})
    xr.testing.assert_equal(save(result, tmp_path / "result.zarr").compute(), result)


def test_a_collection_is_a_tree_and_its_maps_open_alone(tmp_path):
    maps = {"left": cube((70, 5, 4), seed=1), "right": cube((3, 66, 4), seed=2)}
    tree = xr.DataTree.from_dict({f"/{k}": v for k, v in maps.items()})
    back = save(tree, tmp_path / "maps.zarr")
    assert isinstance(back, xr.DataTree)
    assert list(back.children) == ["left", "right"]
    for name, ds in maps.items():
        xr.testing.assert_equal(back[name].to_dataset().compute(), ds)
        xr.testing.assert_equal(open_store(tmp_path / "maps.zarr" / name).compute(), ds)
    infos = store_info(tmp_path / "maps.zarr")
    assert {n: i.photons for n, i in infos.items()} == {n: d.counts.values.sum() for n, d in maps.items()}
    assert verify(tmp_path / "maps.zarr") == sum(int(d.counts.values.sum()) for d in maps.values())


def test_what_is_there_is_kept_unless_overwrite_is_said(tmp_path):
    path = tmp_path / "map.zarr"
    save(cube((3, 3, 3), seed=1), path)
    before = checksum(path)
    with pytest.raises(StoreExistsError, match="overwrite=True"):
        save(cube((3, 3, 3), seed=2), path)
    assert checksum(path) == before
    save(cube((3, 3, 3), seed=2), path, overwrite=True)
    assert checksum(path) != before
    assert [p.name for p in tmp_path.iterdir()] == ["map.zarr"]


def test_the_old_store_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "map.zarr"
    save(cube((3, 3, 3), seed=1), path)
    before = checksum(path)

    def fail(block):
        raise RuntimeError("the source is gone")

    broken = cube((130, 3, 3), chunks={"y": 64})
    broken = broken.assign(
        counts=(
            broken.counts.dims,
            broken.counts.data.map_blocks(fail, dtype="u2", meta=np.empty((0, 0, 0), "u2")),
        )
    )
    with pytest.raises(RuntimeError, match="the source is gone"):
        save(broken, path, overwrite=True)
    assert checksum(path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["map.zarr"]


def test_a_cube_may_be_saved_over_the_store_it_is_read_from(tmp_path):
    ds = cube((70, 70, 5))
    opened = save(ds, tmp_path / "map.zarr")
    back = save(opened.isel(y=slice(0, 65)), tmp_path / "map.zarr", overwrite=True)
    assert (back.counts.values == ds.counts.values[:65]).all()


@pytest.mark.parametrize("name", ["folder", "file", "foreign.zarr"])
def test_what_is_not_ours_is_never_replaced(tmp_path, name):
    import zarr

    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("thesis")
    zarr.create_group(tmp_path / "foreign.zarr")
    with pytest.raises(ForeignStoreError, match="left alone"):
        save(cube((3, 3, 3)), tmp_path / name, overwrite=True)
    (tmp_path / "map.zarr.partial").mkdir()
    (tmp_path / "map.zarr.partial" / "thesis.txt").write_text("mine")
    with pytest.raises(ForeignStoreError, match="something else"):
        save(cube((3, 3, 3)), tmp_path / "map.zarr", overwrite=True)
    assert (tmp_path / "map.zarr.partial" / "thesis.txt").read_text() == "mine"


def test_a_folder_that_does_not_exist_is_told_with_the_line_that_makes_it(tmp_path):
    with pytest.raises(ParameterError, match="mkdir -p"):
        save(cube((3, 3, 3)), tmp_path / "no" / "map.zarr")


def begin(tmp_path, ds):
    """Save one band of ``ds`` and stop, as Ctrl-C would."""

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        save(ds, tmp_path / "map.zarr", progress=stop)
    return caught.value


def test_ctrl_c_says_how_to_go_on_and_resume_goes_on(tmp_path):
    ds = cube((300, 70, 5), chunks={"y": 64, "x": 64})
    whole = save(ds, tmp_path / "whole.zarr")
    assert whole.counts.shape == (300, 70, 5)
    error = begin(tmp_path, ds)
    found = re.search(r"([1-3]) of 5 bands of the current map are safe", error.__notes__[0])
    safe = int(found[1])  # the band that was told, and what the two threads had in hand
    assert "resume=True" in error.__notes__[0]
    assert not (tmp_path / "map.zarr").exists()
    with pytest.raises(StoreExistsError, match="resume=True"):
        save(ds, tmp_path / "map.zarr")
    seen = []
    save(ds, tmp_path / "map.zarr", resume=True, progress=seen.append)
    assert checksum(tmp_path / "map.zarr") == checksum(tmp_path / "whole.zarr")
    assert [p.resumed for p in seen] == [safe * 64 * 70] * (5 - safe)
    assert [p.done for p in seen] == [min(n * 64, 300) * 70 for n in range(safe + 1, 6)]


def test_resume_replaces_the_old_store_if_that_was_said_when_it_was_begun(tmp_path):
    old, new = cube((300, 70, 5), seed=1), cube((300, 70, 5), seed=2)
    save(old, tmp_path / "map.zarr")

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(new, tmp_path / "map.zarr", overwrite=True, progress=stop)
    assert (open_store(tmp_path / "map.zarr").counts.values == old.counts.values).all()
    back = save(new, tmp_path / "map.zarr", resume=True)
    assert (back.counts.values == new.counts.values).all()


def test_resume_refuses_another_cube(tmp_path):
    begin(tmp_path, cube((300, 70, 5), seed=1))
    with pytest.raises(ParameterError, match="was begun with"):
        save(cube((300, 70, 5), seed=2), tmp_path / "map.zarr", resume=True)
    other = save(cube((300, 70, 5), seed=2), tmp_path / "map.zarr", overwrite=True)
    assert (other.counts.values == cube((300, 70, 5), seed=2).counts.values).all()


def test_an_interrupted_widening_is_finished_or_undone(tmp_path, monkeypatch):
    counts = np.random.default_rng(1).poisson(0.1, (200, 100, 7)).astype(np.uint32)
    counts[150, 3, 3] = 70_000
    ds = from_array(counts, **AXIS)
    save(ds, tmp_path / "whole.zarr")
    for fail_at in (1, 2):  # the two renames: the old array away, the new one in its place
        calls = []
        real = Path.rename

        def rename(self, target, real=real, calls=calls, fail_at=fail_at):
            calls.append(self.name)
            if len(calls) == fail_at:
                raise KeyboardInterrupt
            return real(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", rename)
            with pytest.raises(KeyboardInterrupt):
                save(ds, tmp_path / "map.zarr", overwrite=True)
        save(ds, tmp_path / "map.zarr", resume=True, overwrite=True)
        assert checksum(tmp_path / "map.zarr") == checksum(tmp_path / "whole.zarr")


def test_a_second_writer_is_refused_while_the_first_one_works(tmp_path):
    path = tmp_path / "map.zarr"
    with Target(path, identity={}, hint="", resume=False, overwrite=False):
        with pytest.raises(StoreBusyError, match=f"process {os.getpid()}"):
            save(cube((3, 3, 3)), path)
        with pytest.raises(StoreBusyError):
            save(cube((3, 3, 3)), path, overwrite=True)
    save(cube((3, 3, 3)), path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["map.zarr"]


_FULL = """
import resource, sys, numpy as np
from edxdask.errors import StoreWriteError
from edxdask.io import from_array, save
counts = np.random.default_rng(0).poisson(3.0, (256, 64, 64)).astype("u2")
counts[:64] = 0  # the first band fits, the others do not
counts[0, 0, 0] = 1
ds = from_array(counts, energy_offset=0.0, energy_scale=0.01)
save(ds, sys.argv[1] + "/whole.zarr")
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
try:
    save(ds, sys.argv[1] + "/map.zarr")
except StoreWriteError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
save(ds, sys.argv[1] + "/map.zarr", resume=True)
"""


def test_a_file_system_that_takes_no_more_is_told_and_resume_goes_on(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "could not be written: File too large; 1 of 4 bands of the current map are safe" in done.stdout
    assert "resume=True" in done.stdout
    assert checksum(tmp_path / "map.zarr") == checksum(tmp_path / "whole.zarr")


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)], capture_output=True
    ).returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_resume_goes_on_once_there_is_space(small_disk, tmp_path):
    ds = cube((512, 64, 64), mean=0.4)
    save(ds, tmp_path / "whole.zarr")
    with pytest.raises(
        StoreWriteError, match=r"No space left on device; [1-7] of 8 bands .* Free some space"
    ) as caught:
        save(ds, small_disk / "map.zarr")
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert partial_path(small_disk / "map.zarr").is_dir()
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    save(ds, small_disk / "map.zarr", resume=True)
    assert checksum(small_disk / "map.zarr") == checksum(tmp_path / "whole.zarr")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StoreWriteError, match="Permission denied"):
        save(cube((3, 3, 3)), tmp_path / "map.zarr")


_LARGE = """
import re, sys, dask.array as da, numpy as np
from edxdask.io import from_array, save
def fill(block_info=None):
    where = block_info[None]["chunk-location"]
    shape = block_info[None]["chunk-shape"]
    out = np.zeros(shape, "u2")
    out[..., ::37] = sum(where) + 1
    return out
chunks, meta = ((64,) * 8, (64,) * 8, (4096,)), np.empty((0, 0, 0), "u2")
counts = da.map_blocks(fill, chunks=chunks, dtype="u2", meta=meta)
save(from_array(counts, energy_offset=0.0, energy_scale=0.01), sys.argv[1])
# not ru_maxrss, which starts at the peak of the process that started this one
print(int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)
"""


def test_memory_does_not_grow_with_the_cube(tmp_path):
    """2.1 GB dense; two chunks of 34 MB, their compressed copies and the libraries take about 0.4 GB."""
    done = subprocess.run(
        [sys.executable, "-c", _LARGE, str(tmp_path / "map.zarr")], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 600
    assert store_info(tmp_path / "map.zarr").shape == (512, 512, 4096)


def test_a_writer_killed_just_after_its_store_appeared_is_tidied_up_by_resume(tmp_path, monkeypatch):
    ds = cube((70, 70, 5))

    clear = Target._clear

    def die(self):
        if self.out.exists():
            raise KeyboardInterrupt
        clear(self)

    with monkeypatch.context() as patch:
        patch.setattr(Target, "_clear", die)
        with pytest.raises(KeyboardInterrupt):
            save(ds, tmp_path / "map.zarr")
    assert partial_path(tmp_path / "map.zarr").exists()
    assert (save(ds, tmp_path / "map.zarr", resume=True).counts.values == ds.counts.values).all()
    assert [p.name for p in tmp_path.iterdir()] == ["map.zarr"]
    with pytest.raises(StoreExistsError):
        save(ds, tmp_path / "map.zarr", resume=True)
