from __future__ import annotations

import json
import pickle
import shutil
import time
import warnings

import dask
import numpy as np
import pytest
import xarray as xr
import zarr

from edxdask.errors import (
    CorruptStoreError,
    ForeignStoreError,
    IncompleteStoreError,
    MissingStoreError,
    NewerSchemaError,
)
from edxdask.io import (
    Manifest,
    checksum,
    from_array,
    manifest_of,
    open_store,
    save,
    store_info,
    verify,
)
from edxdask.io.store import store_of
from edxdask.io.target import partial_path


def cube(shape, *, seed=0, mean=0.05):
    counts = np.random.default_rng(seed).poisson(mean, shape).astype(np.uint16)
    return from_array(counts, energy_offset=-0.1, energy_scale=0.01, pixel_size=2.0, beam_energy=200)


@pytest.fixture
def store(tmp_path):
    """A store of 3 × 2 chunks, one of them empty, with an image and labels riding along."""
    ds = cube((130, 100, 50))
    counts = ds.counts.values.copy()
    counts[64:128, 64:] = 0
    ds = ds.assign(
        counts=(ds.counts.dims, counts, ds.counts.attrs),
        haadf=(("y", "x"), np.arange(13000.0).reshape(130, 100)),
        truth_spectrum=(("phase", "energy"), np.full((2, 50), 0.02)),
    ).assign_coords(phase=["matrix", "Fp"])
    ds.attrs["elements"] = ["Mg", "Si"]
    save(ds, tmp_path / "map.zarr")
    return tmp_path / "map.zarr", ds


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (65, 63, 7), (64, 128, 16), (3, 70, 65, 9), (5000, 11), (1, 200, 3)]
)
def test_a_cube_comes_back_as_it_was(tmp_path, shape):
    ds = cube(shape)
    back = save(ds, tmp_path / "map.zarr")
    xr.testing.assert_equal(back.compute(), ds)
    assert back.energy.attrs == ds.energy.attrs
    assert back.beam_energy_kev == 200.0


def test_everything_that_rides_along_comes_back(store):
    path, ds = store
    back = open_store(path)
    xr.testing.assert_equal(back.compute(), ds)
    assert back.phase.values.tolist() == ["matrix", "Fp"]
    assert back.attrs["elements"] == ["Mg", "Si"]
    assert back.counts.attrs["units"] == "counts"


def test_plain_zarr_and_xarray_open_it_without_a_warning(store):
    path, ds = store
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = xr.open_zarr(path)
        group = zarr.open_group(path, mode="r")
        tree = xr.open_datatree(path, engine="zarr")
    assert (plain.counts.values == ds.counts.values).all()
    assert (group["counts"][...] == ds.counts.values).all()
    assert tree["manifest/photons"].values.sum() == ds.counts.values.sum()
    assert group.attrs["complete"] is True


def test_opening_computes_nothing_and_blocks_are_the_chunks(store, monkeypatch):
    path, _ = store
    computed = []

    def refuse(graph, keys, **options):
        computed.append(keys)
        raise AssertionError("something was computed")

    with dask.config.set(scheduler=refuse):
        ds = open_store(path)
        lazy = ds.counts[3:70, ::2].sum("energy") + ds.haadf
    assert not computed
    assert ds.counts.data.chunks == ((64, 64, 2), (64, 36), (50,))
    assert lazy.chunks is not None


def test_the_lazy_counts_travel_to_another_process(store):
    path, ds = store
    lazy = pickle.loads(pickle.dumps(open_store(path).counts))
    part = lazy.isel(y=slice(10, 129, 7), energy=slice(5, None))
    assert (part.compute(scheduler="processes", num_workers=1) == ds.counts[10:129:7, :, 5:]).all()


def test_empty_chunks_take_no_file_and_read_as_zeros(store):
    path, _ = store
    assert not (path / "counts" / "c.1.1.0").exists()
    assert (path / "counts" / "c.1.0.0").exists()
    assert int(open_store(path).counts[64:128, 64:].sum()) == 0


def test_info_tells_photons_fill_and_sum_spectrum_without_the_counts(store):
    path, ds = store
    counts = ds.counts.values
    with_counts_away = path / "counts"
    for chunk in with_counts_away.glob("c.*"):
        chunk.write_bytes(b"")  # reading any would fail
    info = store_info(path)
    assert (info.photons, info.nonzeros, info.largest) == (counts.sum(), (counts > 0).sum(), counts.max())
    assert (info.sum_spectrum == counts.sum((0, 1))).all()
    assert (info.shape, info.dims, info.dtype) == ((130, 100, 50), ("y", "x", "energy"), np.dtype("uint16"))
    assert info.counts_per_pixel == counts.sum() / 13000
    assert info.fill == (counts > 0).mean()
    assert info.photon_bytes == 3 * (counts > 0).sum() + 8 * 13001
    assert (info.energy_offset, info.energy_scale) == (-0.1, 0.01)
    assert set(info.variables) >= {"haadf", "truth_spectrum"}
    manifest = manifest_of(path)
    assert manifest.photons.shape == (3, 2)
    assert manifest.photons[1, 1] == 0
    assert manifest.photons[0, 0] == counts[:64, :64].sum()


def test_the_place_of_untouched_counts_is_known_and_of_others_is_not(store):
    path, _ = store
    ds = open_store(path)
    assert store_of(ds.counts) == path.resolve()
    assert store_of(ds.counts[1:]) is None
    assert store_of(ds.counts * 1) is None
    assert store_of(ds.counts.transpose("x", "y", "energy")) is None


def test_nothing_there_is_a_file_not_found(tmp_path):
    with pytest.raises(MissingStoreError, match="no such store"):
        open_store(tmp_path / "absent.zarr")
    with pytest.raises(FileNotFoundError):
        open_store(tmp_path / "absent.zarr")


def test_foreign_things_are_called_foreign(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.emd").write_bytes(b"x")
    zarr.create_group(tmp_path / "other.zarr").create_array("counts", data=np.zeros(3))
    for name, text in [("folder", "no zarr.json"), ("file.emd", "ingest"), ("other.zarr", "another program")]:
        with pytest.raises(ForeignStoreError, match=text):
            open_store(tmp_path / name)


def test_an_incomplete_store_says_how_to_go_on(store, tmp_path):
    path, _ = store
    partial = partial_path(path)
    partial.mkdir()
    shutil.move(path, partial / "store")
    (partial / "plan.json").write_text(json.dumps({"hint": "edxdask ingest 'a b.emd' --resume"}))
    for wrong in (path, partial):
        with pytest.raises(IncompleteStoreError, match=r"edxdask ingest 'a b.emd' --resume"):
            open_store(wrong)


def edit(path, **attributes):
    node = json.loads((path / "zarr.json").read_text())
    node["attributes"].update(attributes)
    (path / "zarr.json").write_text(json.dumps(node))


def test_marks_of_the_store_are_believed(store):
    path, _ = store
    edit(path, complete=False)
    with pytest.raises(IncompleteStoreError, match="not written to the end"):
        open_store(path)
    edit(path, complete=True, schema_version=99)
    with pytest.raises(NewerSchemaError, match=r"schema version 99.*upgrade"):
        open_store(path)
    edit(path, schema_version="one")
    with pytest.raises(CorruptStoreError, match="schema_version"):
        open_store(path)


@pytest.mark.parametrize("name", ["zarr.json", "counts/zarr.json", "manifest/photons/c/0/0", "energy/c/0"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_damaged_metadata_or_coordinates_are_told_on_opening(store, name, damage):
    path, _ = store
    file = path / name
    if damage == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    else:
        file.unlink()
    if (name, damage) == ("zarr.json", "gone"):
        with pytest.raises(ForeignStoreError):
            open_store(path)
        return
    with pytest.raises(CorruptStoreError, match=r"map\.zarr"):
        verify(path)


def test_a_chunk_that_is_gone_is_told_on_opening_and_on_reading(store):
    path, _ = store
    opened = open_store(path)
    (path / "counts" / "c.2.1.0").unlink()
    with pytest.raises(CorruptStoreError, match=r"c\.2\.1\.0"):
        open_store(path)
    with pytest.raises(CorruptStoreError, match=r"c\.2\.1\.0 of counts is missing; .* \d+ photons"):
        opened.counts[128:].compute()


def test_a_chunk_of_other_counts_is_found_by_verify(store):
    path, _ = store
    assert verify(path) == store_info(path).photons
    shutil.copy(path / "counts" / "c.0.0.0", path / "counts" / "c.1.0.0")
    with pytest.raises(CorruptStoreError, match=r"c\.1\.0\.0"):
        verify(path)


def test_every_one_of_sixty_bit_flips_in_chunks_is_an_error_that_names_the_chunk(store):
    path, _ = store
    rng = np.random.default_rng(7)
    chunks = sorted((path / "counts").glob("c.*"))
    for _ in range(60):
        chunk = chunks[rng.integers(len(chunks))]
        good = chunk.read_bytes()
        bad = bytearray(good)
        bad[rng.integers(len(bad))] ^= 1 << int(rng.integers(8))
        chunk.write_bytes(bad)
        with pytest.raises(CorruptStoreError, match=chunk.name.replace(".", r"\.")):
            open_store(path).counts.compute(scheduler="synchronous")
        chunk.write_bytes(good)
    assert verify(path) > 0


def test_bit_flips_in_other_arrays_are_errors_too(store):
    path, _ = store
    rng = np.random.default_rng(8)
    files = [p for p in path.rglob("*") if p.is_file() and p.name.isdigit()]
    assert len(files) >= 8
    for file in files:
        good = file.read_bytes()
        bad = bytearray(good)
        bad[rng.integers(len(bad))] ^= 1 << int(rng.integers(8))
        file.write_bytes(bad)
        with pytest.raises(CorruptStoreError):
            verify(path)
        file.write_bytes(good)


def test_a_store_that_was_replaced_is_not_mixed_up_with_the_old_one(tmp_path):
    path = tmp_path / "map.zarr"
    first = save(cube((70, 5, 4), seed=1), path)
    assert int(first.counts.sum()) == verify(path)
    other = cube((70, 5, 4), seed=2, mean=3.0)
    second = save(other, path, overwrite=True)
    assert (second.counts.values == other.counts.values).all()
    third = save(cube((9, 5, 4)), path, overwrite=True)
    with pytest.raises(CorruptStoreError, match="replaced"):
        second.counts.compute()
    assert third.counts.shape == (9, 5, 4)


def test_a_store_of_68_gb_opens_in_well_under_a_second(tmp_path):
    path = tmp_path / "big.zarr"
    _write_manifest_of_a_big_store(path)
    open_store(path)  # imports and caches apart
    begun = time.process_time()  # by the clock a busy machine would decide
    ds = open_store(path)
    seconds = time.process_time() - begun
    assert ds.counts.data.npartitions == 2048
    assert seconds < 1.0


def _write_manifest_of_a_big_store(path):
    """A store of 4096 × 2048 × 4096 whose chunks are empty files; its manifest says they hold photons."""
    save(cube((1, 1, 4096)), path)
    grid_shape = (4096, 2048, 4096)
    shutil.rmtree(path / "counts")
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    group.create_array(
        "counts",
        shape=grid_shape,
        chunks=(64, 64, 4096),
        dtype="uint16",
        dimension_names=("y", "x", "energy"),
        chunk_key_encoding={"name": "default", "separator": "."},
    )
    ones = np.ones((64, 32), dtype=np.uint64)
    spectrum = np.zeros((64, 4096), dtype=np.uint64)
    spectrum[:, 0] = 32
    Manifest(ones, ones, ones.astype(np.uint32), spectrum).write(group)
    for name, length in (("y", 4096), ("x", 2048)):
        group.create_array(name, data=np.arange(float(length)), overwrite=True, dimension_names=(name,))
    for row in range(64):
        for column in range(32):
            (path / "counts" / f"c.{row}.{column}.0").touch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(path)


def test_the_checksum_sees_every_byte_and_name(store):
    path, _ = store
    before = checksum(path)
    image = path / "haadf" / "c" / "0" / "0"
    good = image.read_bytes()
    image.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert checksum(path) != before
    image.write_bytes(good)
    assert checksum(path) == before
    image.rename(image.with_name("1"))
    assert checksum(path) != before


def test_single_images_of_a_stored_series_are_read(tmp_path):
    counts = np.random.default_rng(0).poisson(0.4, (3, 4, 5, 6)).astype("u2")
    save(from_array(counts, energy_offset=0.0, energy_scale=0.1), tmp_path / "series.zarr")
    stored = open_store(tmp_path / "series.zarr").counts
    np.testing.assert_array_equal(stored.isel(tilt=1).values, counts[1])
    np.testing.assert_array_equal(stored.isel(tilt=2, y=3)[1:3].values, counts[2, 3, 1:3])
    np.testing.assert_array_equal(stored[-1, 2:, ::2].values, counts[-1, 2:, ::2])
