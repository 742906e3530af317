"""Shadows, a drifting beam and moved, turned projections, all at once, beside the same series without them.

The package's phantom at 20 photons per pixel, tilts of ±70° in steps of 5°: moves of up to 3 px, an axis off
by 1.7 px and turned by 1°, two of four detectors that go into the holder's shadow, a beam that falls by 30 %.
Moves, angle and exposures are found from the photons; spectra are the true ones, so that what differs is due
to them alone. One line per figure; the volume of a moved series may lie elsewhere as a whole, and is
compared where it lies best, which moves it by no more than the moves of all projections say.

    python benchmarks/tomography_alignment.py [--counts 20] [--seed 3] [--size 96] [--rows 24] [--tiny]
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import xarray as xr
from verdict import Verdict

import edxdask
from edxdask import schema
from edxdask.tomo.alignment import align_images
from edxdask.tomo.classes import class_responses, classes_of
from edxdask.tomo.estimate import VolumeSettings, reconstruct_slab
from edxdask.tomo.geometry import TiltGeometry
from edxdask.tomo.projector import Projector
from edxdask.tomo.sight import exposure_of

MARGIN = 5.0  # rows around the object, px
WORST_Y, WORST_X, WORST_RISE = 0.1, 0.25, 1.10  # px rms; all-RMSE over that of the clean series


def moved_as_a_whole(tilts: np.ndarray, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of moves that only moves the volume: rows alike, columns as a point of the volume does."""
    angle = np.deg2rad(tilts)
    free = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.full_like(y, y.mean()), free @ np.linalg.lstsq(free, x, rcond=None)[0]


def rmse(series: xr.Dataset, geometry: TiltGeometry, counts: np.ndarray, class_of: np.ndarray) -> float:
    """Root of the sum of mean squared errors of all phases."""
    truth = series[schema.TRUTH_VOLUME].values
    _, depth, rows, columns = truth.shape
    photons = series[schema.TRUTH_SPECTRUM].values * series[schema.TRUTH_PHOTONS_PER_VOXEL].values[:, None]
    projector = Projector(geometry, shape=(depth, columns), columns=columns, volume_rows=rows)
    found = reconstruct_slab(counts, projector, class_responses(photons, class_of), VolumeSettings())
    return float(np.sqrt(((found.volume - truth) ** 2).mean(axis=(1, 2, 3)).sum()))


def class_counts(series: xr.Dataset, class_of: np.ndarray) -> np.ndarray:
    made = np.zeros((*series[schema.COUNTS].shape[:3], int(class_of.max()) + 1), np.uint16)
    for tilt in range(made.shape[0]):
        counts = series[schema.COUNTS][tilt].values
        for number in range(made.shape[-1]):
            made[tilt, ..., number] = counts[..., class_of == number].sum(axis=-1)
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--counts", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    size, rows = (40, 16) if given.tiny else (given.size, given.rows)
    verdict = Verdict(limits=not given.tiny)
    tilts = np.arange(-70.0, 71.0, 10.0 if given.tiny else 5.0)
    common = {"shape": (size, rows, size), "counts": given.counts, "tilts": tilts, "seed": given.seed}
    print(
        f"phantom of {size} × {rows} × {size} voxels, {tilts.size} tilts, {given.counts:g} photons per pixel"
    )
    moved = {"shift_px": 3.0, "axis_px": 1.7, "rotation_deg": 1.0, "margin_px": MARGIN}
    series = edxdask.simulate("tomography", **common, misaligned=moved, shadows=True, dose_drift=-0.3)
    # the same object with the same rows around it, not moved
    still = {**dict.fromkeys(moved, 0.0), "margin_px": MARGIN}
    clean = edxdask.simulate("tomography", **common, misaligned=still)

    photons = clean[schema.TRUTH_SPECTRUM].values * clean[schema.TRUTH_PHOTONS_PER_VOXEL].values[:, None]
    class_of = classes_of(photons)
    counts = class_counts(clean, class_of)
    base = rmse(clean, TiltGeometry.of(tilts), counts, class_of)
    print(f"  clean, geometry known: all-RMSE {base:.4f}")

    counts = class_counts(series, class_of)
    totals = counts.sum(axis=-1, dtype=np.float64)
    found = align_images(totals.astype(np.float32), tilts)
    true = [series[name].values for name in (schema.TRUTH_SHIFT_Y, schema.TRUTH_SHIFT_X)]
    y, x = found.geometry.shift_y - true[0], found.geometry.shift_x - true[1]
    free = moved_as_a_whole(tilts, y, x)
    off = [float(np.sqrt(np.mean((d - f) ** 2))) for d, f in zip((y, x), free, strict=True)]
    angle = float(found.geometry.rotation_deg[0] - series[schema.TRUTH_ROTATION].values[0])
    verdict.at_most("moves along the axis, px rms", off[0], WORST_Y)
    verdict.at_most("moves across the axis, px rms", off[1], WORST_X)
    print(f"  angle of the axis off by {angle:+.2f}°, stated ± {found.rotation_std:.2f}°; {found.method}")
    exposure = exposure_of(totals.sum(axis=(1, 2)), tilts, cut=found.cut_x)
    wrong = exposure.values / series[schema.TRUTH_EXPOSURE].values
    print(f"  exposures off by {np.std(wrong / wrong.mean()):.3f} rms, from {exposure.source}")

    scale = series[schema.TRUTH_EXPOSURE].values.mean()
    geometry = replace(
        found.geometry,
        shift_y=found.geometry.shift_y - free[0],
        shift_x=found.geometry.shift_x - free[1],
        exposure=exposure.values * scale,
    )
    at_once = rmse(series, geometry, counts, class_of)
    verdict.at_most("all at once, over the clean series: all-RMSE", at_once / base, WORST_RISE)
    print(f"  all at once, everything found: all-RMSE {at_once:.4f}")
    known = TiltGeometry.of(
        tilts,
        shift_y=true[0],
        shift_x=true[1],
        rotation_deg=series[schema.TRUTH_ROTATION].values,
        exposure=series[schema.TRUTH_EXPOSURE].values,
    )
    print(
        f"  all at once, geometry and exposures known: all-RMSE {rmse(series, known, counts, class_of):.4f}"
    )
    ignored = TiltGeometry.of(tilts, shift_x=float(true[1].mean()), exposure=geometry.exposure)
    print(f"  all at once, moves ignored: all-RMSE {rmse(series, ignored, counts, class_of):.4f}")
    return verdict.exit_code()


if __name__ == "__main__":
    raise SystemExit(main())
