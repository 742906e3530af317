"""Volumes of three phases from photons of a tilt series, beside volumes of line maps, on phantoms.

Of each series: all photons with the true spectra, and with spectra that are found as ``tomography`` finds
them (``psnmf`` on the joint projections, improved in three dimensions), both with the strength of the prior
by count splitting; and maps of line windows, reconstructed by SIRT and by filtered back projection, solved
for phases in each voxel with the true responses, at the best of a few settings (which the truth chooses:
more than a user could do). Figures: all-RMSE, the root of the sum over phases of squared errors of
fractions, and Dice of each phase above one half.

With found spectra, ratios of yields are the true ones (composition and density say them) and the common
scale is found from the data. Seconds are of the processor.

    python benchmarks/tomography.py [--data FOLDER] [--seeds 3] [--photons 5 20 80] [--astra-python PATH]
                                    [--tiny]

astra's SIRT and FBP (Ram-Lak) of the same maps ride along where an environment with astra-toolbox is named.
FOLDER has phantom_5.npz and phantom_20.npz; without it only simulated series are run. The last lines are
the targets; the exit code is 1 where one is missed. --tiny checks only that all runs.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

from verdict import Verdict, load_average, one_core

one_core()

import numpy as np  # noqa: E402
import xarray as xr  # noqa: E402
from sample_truth import angles  # noqa: E402
from scipy.optimize import linear_sum_assignment  # noqa: E402
from tomography_projector import elsewhere  # noqa: E402

import edxdask  # noqa: E402
from edxdask import schema  # noqa: E402
from edxdask.tomo.classes import class_responses, classes_of  # noqa: E402
from edxdask.tomo.classical import fbp, sirt  # noqa: E402
from edxdask.tomo.estimate import VolumeSettings, reconstruct_slab  # noqa: E402
from edxdask.tomo.geometry import TiltGeometry  # noqa: E402
from edxdask.tomo.mixing import mixing_of, mixing_warnings  # noqa: E402
from edxdask.tomo.projector import Projector  # noqa: E402
from edxdask.tomo.strength import choose_strength  # noqa: E402
from edxdask.tomo.volume_spectra import spectra_in_volume  # noqa: E402
from edxdask.tomo.yields import common_scale  # noqa: E402
from edxdask.tomographies.fitted import richest_rows  # noqa: E402

WINDOWS_KEV = (1.254, 1.740, 3.691, 6.404)  # Mg, Si, Ca, Fe
HALF_WINDOW_KEV = 0.07
SIRT_ITERATIONS, FBP_CUTOFFS = (5, 10, 20, 40), (0.2, 0.35, 0.5)
TRUE_LIMITS, FOUND_LIMITS = {5: 0.19, 20: 0.147, 80: 0.14}, {20: 0.165, 80: 0.15}
DICE = {5: (0.92, 0.55, 0.67), 20: (0.95, 0.74, 0.82), 80: (0.96, 0.83, 0.90)}
DICE_SLACK = 0.03


@dataclass(frozen=True)
class Series:
    """A tilt series with its truth: fractions (phase, z, y, x), photons of full voxels (phase, channel)."""

    name: str
    photons: int
    cube: xr.Dataset
    truth: np.ndarray
    emitted: np.ndarray

    @property
    def projector(self) -> Projector:
        """Projector of the whole volume."""
        _, nz, rows, nx = self.truth.shape
        geometry = TiltGeometry.of(self.cube[schema.TILT].values)
        return Projector(geometry, shape=(nz, nx), columns=nx, volume_rows=rows)


def of_file(path: Path, photons: int) -> Series:
    """Read a phantom of ``data/tomography``: pixels are stored as (tilt, x, y)."""
    with np.load(path) as kept:
        tilts, columns, rows, channels = (int(n) for n in kept["shape"])
        dense = np.zeros((tilts * columns * rows, channels), np.uint8)
        pixel = np.repeat(np.arange(len(dense)), np.diff(kept["indptr"].astype(np.int64)))
        dense[pixel, kept["channel"]] = kept["count"]
        counts = dense.reshape(tilts, columns, rows, channels).transpose(0, 2, 1, 3)
        cube = edxdask.from_array(
            np.ascontiguousarray(counts), energy_offset=float(kept["energy_offset_kev"]),
            energy_scale=float(kept["energy_scale_kev"]), pixel_size=2.0, beam_energy=200.0,
        ).assign_coords({schema.TILT: kept["tilt_deg"]})  # fmt: skip
        truth = kept["fraction"].astype(np.float32).transpose(0, 2, 1, 3)
        return Series(path.stem, photons, cube, truth, kept["spectrum"].astype(float))


def simulated(photons: int, seed: int, shape: tuple[int, int, int], tilts: np.ndarray) -> Series:
    """Simulate a series of the package's own phantom."""
    cube = edxdask.simulate("tomography", shape=shape, counts=photons, seed=seed, tilts=tilts.tolist())
    emitted = cube[schema.TRUTH_SPECTRUM].values * cube[schema.TRUTH_PHOTONS_PER_VOXEL].values[:, None]
    truth = np.ascontiguousarray(cube[schema.TRUTH_VOLUME].values, dtype=np.float32)
    return Series(f"simulated, {photons} photons, seed {seed}", photons, cube, truth, emitted)


def class_counts(series: Series, class_of: np.ndarray) -> np.ndarray:
    """Sum counts over the channels of each class: (tilt, row, column, class)."""
    counts = np.asarray(series.cube[schema.COUNTS].values)
    classes = int(class_of.max()) + 1
    parts = [counts[..., class_of == c].sum(axis=-1, dtype=np.uint16) for c in range(classes)]
    return np.stack(parts, axis=-1)


def all_rmse(volume: np.ndarray, truth: np.ndarray) -> float:
    """Root of the sum over phases of squared errors."""
    return float(np.sqrt(((volume - truth) ** 2).mean(axis=(1, 2, 3)).sum()))


def dice(volume: np.ndarray, truth: np.ndarray) -> tuple[float, ...]:
    """Dice of each phase above one half."""
    pairs = zip(volume > 0.5, truth > 0.5, strict=True)
    return tuple(float(2 * (a & b).sum() / max(int(a.sum() + b.sum()), 1)) for a, b in pairs)


def say(label: str, volume: np.ndarray, series: Series, note: str = "") -> tuple[float, tuple[float, ...]]:
    """Print the figures of a volume."""
    error, overlaps = all_rmse(volume, series.truth), dice(volume, series.truth)
    print(f"  {label:<34} all-RMSE {error:.4f}   Dice {' '.join(f'{d:.2f}' for d in overlaps)}   {note}")
    return error, overlaps


def from_photons(series: Series, emitted: np.ndarray, *, scale_known: bool) -> tuple[np.ndarray, str]:
    """Reconstruct from all photons with spectra (phase, channel) in photons of a full voxel, or relative."""
    begin = time.process_time()
    class_of = classes_of(emitted)
    responses, counts = class_responses(emitted, class_of), class_counts(series, class_of)
    scale = 1.0
    if not scale_known:
        scale, _ = common_scale(counts, series.projector, responses, VolumeSettings())
    found = choose_strength(counts, series.projector, scale * responses, VolumeSettings())
    settings = VolumeSettings(strength=found.strength)
    result = reconstruct_slab(counts, series.projector, scale * responses, settings)
    how = f"strength {found.strength:.3f}, {len(result.objective)} passes"
    how += "" if result.converged else ", NOT CONVERGED"
    how += "" if scale_known else f", scale {scale / series.emitted.sum(axis=1).mean():.3f} of the true one"
    return result.volume, f"{how}, {time.process_time() - begin:.0f} s"


def found_spectra(series: Series) -> tuple[np.ndarray, str]:
    """Find spectra as ``tomography`` does: by ``psnmf``, then in three dimensions on some rows."""

    def unmixed(phases: int) -> np.ndarray:
        return np.asarray(edxdask.psnmf(series.cube, phases=phases)[schema.SPECTRUM].values)

    begin = time.process_time()
    given = unmixed(len(series.truth))
    photons = np.asarray(series.cube[schema.COUNTS].sum((schema.TILT, schema.X, schema.ENERGY)).values)
    rows = slice(*richest_rows(photons, (0, photons.size)))
    part = replace(series, cube=series.cube.isel({schema.Y: rows}), truth=series.truth[:, :, rows])
    better = spectra_in_volume(
        lambda class_of: class_counts(part, class_of), part.projector, given, unmixed, VolumeSettings()
    )
    before = " ".join(f"{one:.1f}" for one in angles(given, series.emitted).min(axis=0))
    how = f"psnmf's off by {before}, gain {better.gain:.0f} +- {better.std:.0f}"
    how += "" if better.changed else ", kept"
    return better.spectra, f"{how}, {time.process_time() - begin:.0f} s"


def with_found_spectra(series: Series) -> tuple[np.ndarray, str]:
    """Reconstruct with spectra that are found; phases in the order of the truth."""
    spectra, found_how = found_spectra(series)
    off = angles(spectra, series.emitted)
    rows, true = linear_sum_assignment(off)
    order = rows[np.argsort(true)]
    ratio = series.emitted.sum(axis=1, keepdims=True)
    volume, how = from_photons(series, spectra[order] * ratio / ratio.mean(), scale_known=False)
    apart = " ".join(f"{off[row, k]:.1f}" for k, row in enumerate(order))
    mixed = mixing_warnings(mixing_of(volume), [str(k) for k in range(len(volume))])
    said = f"mixtures: {' '.join(text.split(':')[0] for text in mixed) or 'none'}"
    return volume, f"spectra off by {apart} deg ({found_how}), {said}, {how}"


def of_line_maps(series: Series, astra_python: str | None) -> dict[str, np.ndarray]:
    """Reconstruct maps of line windows and solve each voxel for phases; the settings with the least error."""
    energy, counts = series.cube[schema.ENERGY].values, np.asarray(series.cube[schema.COUNTS].values)
    windows = [np.abs(energy - at) < HALF_WINDOW_KEV for at in WINDOWS_KEV]
    maps = [counts[..., window].sum(axis=-1, dtype=np.float32) for window in windows]
    solve = np.linalg.pinv(np.array([series.emitted[:, window].sum(axis=1) for window in windows]))
    geometry, depth = series.projector.geometry, series.truth.shape[1]
    tries: dict[str, list[np.ndarray]] = {"SIRT": [], "FBP": []}
    for iterations in SIRT_ITERATIONS:
        tries["SIRT"].append(np.stack([sirt(m, geometry, depth, iterations=iterations) for m in maps]))
    for cutoff in FBP_CUTOFFS:
        each = [fbp(m, geometry, depth, window="hann", cutoff=cutoff) for m in maps]
        tries["FBP"].append(np.stack(each))
    if astra_python:
        tries |= {"astra's SIRT": [], "astra's FBP": []}
        for iterations in SIRT_ITERATIONS:
            found = [
                elsewhere(astra_python, "astra_classical.py", m, geometry, str(iterations)) for m in maps
            ]
            tries["astra's SIRT"].append(np.stack([one["sirt"] for one in found]))
        tries["astra's FBP"].append(np.stack([one["fbp"] for one in found]))
    out = {}
    for name, volumes in tries.items():
        solved = [np.clip(np.tensordot(solve, v, 1), 0, 1) for v in volumes]
        out[name] = min(solved, key=lambda v: all_rmse(v, series.truth))
    return out


def measure(series: Series, verdict: Verdict, astra_python: str | None) -> None:
    """Print all figures of a series, and compare with the targets."""
    print(f"{series.name}: {series.cube[schema.COUNTS].shape}", flush=True)
    peers = [
        say(f"line maps + {name}", v, series)[0] for name, v in of_line_maps(series, astra_python).items()
    ]
    volume, note = from_photons(series, series.emitted, scale_known=True)
    error, overlaps = say("all photons, true spectra", volume, series, note)
    if series.photons in TRUE_LIMITS:
        verdict.at_most(f"{series.name}, true spectra: all-RMSE", error, TRUE_LIMITS[series.photons])
        for k, (have, want) in enumerate(zip(overlaps, DICE[series.photons], strict=True)):
            verdict.at_least(f"{series.name}, true spectra: Dice of phase {k}", have, want - DICE_SLACK)
    verdict.at_most(f"{series.name}, true spectra over the best peer", error / min(peers), 1.0)
    volume, note = with_found_spectra(series)
    error, _ = say("all photons, found spectra", volume, series, note)
    if series.photons in FOUND_LIMITS:
        verdict.at_most(f"{series.name}, found spectra: all-RMSE", error, FOUND_LIMITS[series.photons])
    sys.stdout.flush()


def main() -> int:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--photons", type=int, nargs="*", default=[5, 20, 80])
    parser.add_argument("--astra-python", metavar="PATH", help="python of an environment with astra-toolbox")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    logging.getLogger("edxdask").setLevel(logging.ERROR)
    verdict = Verdict(limits=not options.tiny)
    print(load_average())
    if options.tiny:
        measure(simulated(20, 0, (32, 8, 32), np.arange(-60.0, 61.0, 10.0)), verdict, options.astra_python)
        return 0
    if options.data is not None:
        for photons in (5, 20):
            measure(of_file(options.data / f"phantom_{photons}.npz", photons), verdict, options.astra_python)
    for photons in options.photons:
        for seed in range(options.seeds):
            measure(
                simulated(photons, seed, (96, 24, 96), np.arange(-70.0, 71.0, 5.0)),
                verdict,
                options.astra_python,
            )
    return verdict.exit_code()


if __name__ == "__main__":
    sys.exit(main())
