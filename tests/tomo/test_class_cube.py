"""Counts by class of channels: every photon is kept, on any chunks, and interrupted work continues."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

from edxdask.errors import CorruptStoreError, ParameterError
from edxdask.tomo.class_cube import NO_CLASS, band_tasks, class_cube_in
from edxdask.tomo.tasks import Stop, StoppedError, run_tasks

TILTS, ROWS, COLUMNS, CHANNELS, CLASSES = 3, 21, 10, 40, 4


@pytest.fixture(scope="module")
def counts():
    return np.random.default_rng(0).poisson(0.3, (TILTS, ROWS, COLUMNS, CHANNELS)).astype(np.uint16)


@pytest.fixture(scope="module")
def class_of():
    found = np.random.default_rng(1).integers(0, CLASSES, CHANNELS)
    found[:3] = NO_CLASS
    return found


def written(tmp_path, counts, class_of, chunks, **limits):
    lazy = da.from_array(counts, chunks=chunks)
    cube = class_cube_in(tmp_path / "classes", tmp_path / "journal", lazy, CLASSES, **limits)
    cube.create()
    run_tasks(band_tasks(cube, lazy, class_of), lambda number, photons: None, workers=2)
    return cube


@pytest.mark.parametrize("chunks", [(1, 8, 4, -1), (3, 5, 10, 20), (2, 21, 3, -1), (1, (1, 13, 7), -1, -1)])
def test_every_photon_is_in_its_class_on_any_chunks(tmp_path, counts, class_of, chunks):
    cube = written(tmp_path, counts, class_of, chunks)
    expected = np.stack([counts[..., class_of == c].sum(-1) for c in range(CLASSES)], -1)
    found = cube.read(0, ROWS, narrow=False)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(cube.read(5, 14, narrow=True), expected[:, 5:14])
    assert cube.read(5, 14, narrow=True).dtype == np.uint8
    photons, left_out = cube.photons()
    np.testing.assert_array_equal(photons + left_out, counts.sum((1, 2, 3)))
    assert cube.largest() == expected.max()


def test_bands_are_as_small_as_memory_asks(tmp_path, counts, class_of):
    cube = written(tmp_path, counts, class_of, (1, 21, 10, -1), most_bytes=TILTS * COLUMNS * CLASSES * 2 * 8)
    assert cube.edges == (0, 7, 14, 21)
    np.testing.assert_array_equal(cube.read(0, ROWS, narrow=True).sum(), counts[..., 3:].sum())


def test_an_interrupted_pass_continues_with_the_bands_that_are_missing(tmp_path, counts, class_of):
    lazy = da.from_array(counts, chunks=(1, 8, 10, -1))
    cube = class_cube_in(tmp_path / "classes", tmp_path / "journal", lazy, CLASSES)
    cube.create()
    first, *rest = band_tasks(cube, lazy, class_of)
    assert first() == counts[:, :8].sum()
    stop = Stop()
    stop.set()
    with pytest.raises(StoppedError):
        rest[0](stop)
    assert cube.missing() == [1, 2]
    cube.create()  # as a second run does: nothing is lost
    run_tasks(band_tasks(cube, lazy, class_of), lambda number, photons: None, workers=2)
    assert cube.missing() == []
    assert cube.photons()[0].sum() == counts[..., class_of != NO_CLASS].sum()


def test_counts_that_no_class_can_hold_and_damaged_chunks_are_refused(tmp_path, counts, class_of):
    large = counts.copy()
    large[1, 2, 3, 7:9] = 60_000
    together = np.zeros_like(class_of)
    lazy = da.from_array(large, chunks=(1, -1, -1, -1))
    cube = class_cube_in(tmp_path / "large", tmp_path / "journal", lazy, 1)
    cube.create()
    with pytest.raises(ParameterError, match="at most 65535 photons of a pixel in a class"):
        band_tasks(cube, lazy, together)[0]()
    whole = written(tmp_path, counts, class_of, (1, 8, 10, -1))
    chunk = next(p for p in (whole.array / "c").rglob("*") if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-8] + b"\0" * 8)
    with pytest.raises(CorruptStoreError, match="counts by class"):
        whole.read(0, ROWS, narrow=True)
