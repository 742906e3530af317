"""The photons by energy: exact on any grid, shared between viewers, never those of other counts."""

from __future__ import annotations

import shutil
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edxdask
from edxdask.io.grid import ChunkGrid
from edxdask.io.store import manifest_of
from edxdask.photons import from_dense
from edxdask.view import photons_by_energy
from edxdask.view.kept_folder import fingerprint_of
from edxdask.view.photons_by_energy import PhotonsByEnergy
from edxdask.view.scene import photons_of_cube
from edxdask.view.sorted_chunk import sorted_chunk
from edxdask.view.viewport import ChunkPlane, Viewport, viewport_of, whole

WINDOWS = [(10, 14, 1.0), (3, 8, -0.5)]


def counts_of(shape, seed=0):
    return np.random.default_rng(seed).poisson(0.3, shape).astype(np.uint16)


def expected(counts, view, windows):
    part = counts[slice(*view.rows), slice(*view.columns)].astype(float)
    image = part.sum(-1) if windows is None else sum(w * part[..., a:b].sum(-1) for a, b, w in windows)
    return view.averaged(image)


@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    step=st.sampled_from([1, 2, 8]),
    seed=st.integers(0, 9),
)
def test_images_are_those_of_the_counts_on_any_grid(height, width, step, seed):
    counts = counts_of((height, width, 16), seed)
    photons = PhotonsByEnergy(counts, ChunkGrid((height, width), 16))
    plane = ChunkPlane(photons.grid)
    top, left = (height // 3) // step * step, (width // 2) // step * step
    for view in (Viewport((0, height), (0, width), step), Viewport((top, height), (left, width), step)):
        for windows in (None, WINDOWS):
            image, complete = photons.image(plane, view, windows)
            assert complete
            np.testing.assert_allclose(image, expected(counts, view, windows), atol=1e-9)
    photons.close()


def test_the_index_gives_what_the_counts_gave_and_counts_above_sixteen_are_kept():
    counts = counts_of((70, 130, 16))
    counts[3, 5, 11], counts[69, 129, 12] = 300, 65535
    photons = PhotonsByEnergy(counts, ChunkGrid((70, 130), 16))
    plane, view = ChunkPlane(photons.grid), Viewport((0, 70), (0, 130), 1)
    before = photons.image(plane, view, WINDOWS)[0]
    photons.start()
    assert photons.wait(60)
    np.testing.assert_array_equal(photons.image(plane, view, WINDOWS)[0], before)
    np.testing.assert_allclose(before, expected(counts, view, WINDOWS))
    parts = [(band, column, None) for band in range(2) for column in range(3)]
    assert (photons.spectrum(parts) == counts.sum((0, 1))).all()
    inside = np.random.default_rng(1).random((64, 64)) < 0.3
    assert (photons.part_spectrum(0, 1, inside) == counts[:64, 64:128][inside].sum(0)).all()
    photons.close()
    assert not photons.folder.exists()


def test_an_empty_chunk_and_no_photons_at_all():
    chunk = sorted_chunk(from_dense(np.zeros((4, 5), dtype=np.uint16)))
    assert (chunk.entries.size, chunk.spectrum.sum(), chunk.totals.sum()) == (0, 0, 0)


class Slow:
    """Counts that are read only when they may be."""

    def __init__(self, counts):
        self.counts, self.may, self.reads = counts, threading.Event(), 0

    def __getitem__(self, index):
        self.may.wait()
        self.reads += 1
        return self.counts[index]


def test_what_is_not_indexed_yet_is_blank_or_the_mean_of_its_chunk(monkeypatch):
    monkeypatch.setattr(photons_by_energy, "WINDOW_CHUNKS", 2)
    counts = counts_of((128, 128, 16))
    known = counts.reshape(2, 64, 2, 64, 16).sum((1, 3, 4))
    photons = PhotonsByEnergy(counts, ChunkGrid((128, 128), 16), known_photons=known)
    plane, view = ChunkPlane(photons.grid), Viewport((0, 128), (0, 128), 1)
    image, complete = photons.image(plane, view, WINDOWS)
    assert not complete
    assert np.isnan(image).all()
    totals, complete = photons.image(plane, view, None)
    assert not complete
    assert totals[0, 0] == pytest.approx(known[0, 0] / 4096)
    one_chunk = Viewport((0, 64), (0, 64), 1)
    image, complete = photons.image(plane, one_chunk, WINDOWS)
    assert complete
    np.testing.assert_allclose(image, expected(counts, one_chunk, WINDOWS))
    photons.close()


def test_bands_in_view_are_indexed_first():
    source = Slow(counts_of((64 * 6, 64, 8)))
    photons = PhotonsByEnergy(source, ChunkGrid((64 * 6, 64), 8))
    done = []
    for file in photons._files:
        own = file.write
        file.write = lambda chunks, own=own, file=file: (own(chunks), done.append(file.path.name))
    photons._wanted = [4, 3]
    source.may.set()
    photons.start()
    assert photons.wait(60)
    photons.close()
    assert done[:2] == ["band-000004.photons", "band-000003.photons"]


@pytest.fixture
def cube(tmp_path):
    edxdask.simulate(shape=(70, 90), counts=30, seed=2, out=tmp_path / "map.zarr")
    return edxdask.open(tmp_path / "map.zarr")


def test_an_index_is_kept_beside_the_store_and_a_second_viewer_uses_it(cube, tmp_path):
    first = photons_of_cube(cube)
    first.start()
    assert first.wait(60)
    first.close()
    assert first.folder.parent == tmp_path / "map.zarr.view"
    second = photons_of_cube(cube)
    assert second.fraction_done == 1
    view = whole((70, 90))
    assert np.allclose(second.image(ChunkPlane(second.grid), view, None)[0], cube.counts.sum("energy"))
    second.close()


def test_two_viewers_at_once_share_the_work(cube):
    both = [photons_of_cube(cube) for _ in range(2)]
    for photons in both:
        photons.start()
    assert all(photons.wait(60) for photons in both)
    assert both[0].folder == both[1].folder
    for photons in both:
        photons.close()


def test_an_index_of_other_counts_is_never_used_and_is_removed(cube, tmp_path):
    first = photons_of_cube(cube)
    first.start()
    assert first.wait(60)
    first.close()
    edxdask.simulate(shape=(70, 90), counts=30, seed=3, out=tmp_path / "map.zarr", overwrite=True)
    fresh = edxdask.open(tmp_path / "map.zarr")
    second = photons_of_cube(fresh)
    assert second.fraction_done == 0
    second.start()
    assert second.wait(60)
    image, _ = second.image(ChunkPlane(second.grid), whole((70, 90)), None)
    assert np.allclose(image, fresh.counts.sum("energy"))
    assert not first.folder.exists()
    second.close()


def test_two_stores_with_equal_manifests_have_different_fingerprints(tmp_path):
    counts = counts_of((64, 64, 16))
    prints = []
    for name, own in (("a", counts), ("b", counts[::-1])):
        ds = edxdask.from_array(own, energy_offset=0.0, energy_scale=0.1)
        edxdask.save(ds, tmp_path / f"{name}.zarr")
        grid, manifest = ChunkGrid((64, 64), 16), manifest_of(tmp_path / f"{name}.zarr")
        prints.append((fingerprint_of(tmp_path / f"{name}.zarr", grid, manifest), manifest.spectrum.tolist()))
    assert prints[0][1] == prints[1][1]
    assert prints[0][0] != prints[1][0]


def test_a_file_that_was_cut_short_is_made_again(cube):
    first = photons_of_cube(cube)
    first.start()
    assert first.wait(60)
    first.close()
    path = next(first.folder.glob("band-*.photons"))
    path.write_bytes(path.read_bytes()[:-2])
    second = photons_of_cube(cube)
    assert second.fraction_done == 0.5
    second.start()
    assert second.wait(60)
    second.close()


def test_an_interrupted_index_leaves_no_half_file(cube):
    photons = photons_of_cube(cube)
    source = Slow(photons._source)
    photons._source = source
    photons.start()
    photons._stopping.set()
    source.may.set()
    photons.close()
    assert [p.name for p in photons.folder.iterdir() if p.name != "lock"] == []


def test_a_store_that_cannot_be_written_beside_is_kept_in_the_cache(cube, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "map.zarr.view").write_text("a file where the folder would be")
    photons = photons_of_cube(cube)
    assert (tmp_path / "cache" / "edxdask" / "view") in photons.folder.parents
    photons.close()


def test_a_full_disk_is_said_and_the_viewer_still_works(cube, tmp_path, monkeypatch, caplog):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=0))
    photons = photons_of_cube(cube)
    assert "no disk has" in caplog.text
    assert photons.image(ChunkPlane(photons.grid), whole((70, 90)), None)[1]
    photons.close()


def test_maps_of_a_collection_have_folders_of_their_own(tmp_path):
    maps = {name: edxdask.simulate(shape=(16, 16), counts=9, seed=i) for i, name in enumerate("ab")}
    edxdask.save(edxdask.collect(maps), tmp_path / "all.zarr")
    photons = photons_of_cube(edxdask.open(tmp_path / "all.zarr/b"))
    assert photons.folder.parent == tmp_path / "all.zarr.view" / "b"
    assert not list((tmp_path / "all.zarr").rglob("*.view"))
    photons.close()


def test_a_viewport_is_cut_to_the_map_and_its_steps():
    assert viewport_of((-500, 9000), (-500, 9000), (4096, 2048)).rows == (0, 4096)
    far = viewport_of((9000, 9010), (0, 10), (100, 100))
    assert far.rows[0] < far.rows[1] <= 100
    assert whole((5000, 100)).step == 16
