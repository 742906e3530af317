"""Alignment of real tilt series, beside what their authors published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edxdask.tomo.alignment import align_images
from edxdask.tomo.estimate import VolumeSettings, reconstruct_slab
from edxdask.tomo.projector import Projector
from edxdask.tomo.quality import reasons

BIN, COLUMNS = 4, 36


@pytest.fixture(scope="module")
def folder(data: Path) -> Path:
    found = data / "tomography"
    if not (found / "quantum_dot.npz").is_file():
        pytest.skip("no tomography/quantum_dot.npz in the folder of real data")
    return found


def binned(images: np.ndarray, factor: int) -> np.ndarray:
    tilts, rows, columns, *rest = images.shape
    shape = (tilts, rows // factor, factor, columns // factor, factor, *rest)
    return images.reshape(shape).sum(axis=(2, 4), dtype=np.float32)


def centred(tilts: np.ndarray) -> np.ndarray:
    return (np.arange(len(tilts)) - len(tilts) // 2) * 10.0


def left_over(tilts: np.ndarray, y: np.ndarray, x: np.ndarray) -> tuple[float, float]:
    angle = np.deg2rad(tilts)
    free = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    rest = x - free @ np.linalg.lstsq(free, x, rcond=None)[0]
    return float(y.std()), float(np.sqrt(np.mean(rest**2)))


def test_moves_of_quantum_dots_are_those_that_were_published(folder):
    """The authors give whole pixels, often multiples of 5, and turn images by angles of whole degrees."""
    series = np.load(folder / "quantum_dot.npz")
    tilts = centred(series["detected"])
    found = align_images(binned(series["detected"].sum(axis=3), BIN), tilts, rotation_deg=0.0)
    y, x = (series[name].astype(float) for name in ("shift_y", "shift_x"))
    before = left_over(tilts, y, x)
    after = left_over(tilts, BIN * found.geometry.shift_y + y, BIN * found.geometry.shift_x + x)
    assert found.cut_y  # a third dot lies at the upper border
    assert after[0] < 0.6 * before[0]
    assert max(after) < 3.5
    assert BIN * max(found.shift_y_std.max(), found.shift_x_std.max()) < 1.5


@pytest.mark.slow
def test_tilts_of_quantum_dots_that_are_mostly_background_do_not_fit(folder):
    series = np.load(folder / "quantum_dot.npz")
    tilts = centred(series["detected"])
    small = binned(series["detected"], BIN)
    found = align_images(small.sum(axis=3), tilts, rotation_deg=0.0)
    first = (small.shape[2] - COLUMNS) // 2
    inside = np.ascontiguousarray(small[:, :, first : first + COLUMNS]).astype(np.uint8)
    projector = Projector(
        found.geometry,
        shape=(COLUMNS, COLUMNS),
        columns=COLUMNS,
        volume_rows=inside.shape[1],
        detector_rows=(0, inside.shape[1]),
    )
    slab = reconstruct_slab(inside, projector, 0.05 * np.eye(3), VolumeSettings(cap=False, max_iter=40))
    named = {float(tilt) for tilt, text in zip(tilts, reasons(slab.misfit), strict=True) if text}
    assert named
    assert named <= {-60.0, -50.0, 50.0, 60.0}
    assert slab.volume.shape[0] == 3


def test_a_nanorod_that_its_authors_aligned_needs_no_more_than_a_pixel(folder):
    series = np.load(folder / "nanorod.npz")
    images = binned(series["projections"], 2)
    found = align_images(images, centred(images), rotation_deg=0.0)
    y, x = left_over(centred(images), 2 * found.geometry.shift_y, 2 * found.geometry.shift_x)
    assert y < 1.0
    assert x < 1.0
    assert not found.cut_x
