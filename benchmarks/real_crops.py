"""Crops and thinnings of real maps: one sample, so one answer, with errors that contain the differences."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr
from judge import RIGHT, SAID, SILENT, Judgement, is_open

import edxdask
from edxdask import schema

ELEMENTS = ("Mg", "Si", "Al", "Ca", "Fe", "Nd", "Sm", "U")
MATRIX = "Brg"
# H. Chen et al., Ultramicroscopy (2024) 113981, and thesis, EPFL: at.% of cations
PUBLISHED_71 = {"Brg": {"Mg": 41.0, "Si": 47.3}, "Fp": {"Mg": 85.7}, "CaPv": {"Si": 36.9, "Ca": 42.8}}
PUBLISHED_88 = {"Brg": {"Mg": 41.3, "Si": 48.0}, "Fp": {"Mg": 81.8}}
OFF, OFF_OF = 0.10, {"CaPv": 0.20}  # of the published figures, that is right
ERRORS = 3.0  # within which a figure that a warning names may be
MOST_CHI2 = 2.0  # per degree of freedom
MUCH_FP, ALL_BRG = 0.6, 0.95  # of a pixel's photons
WINDOWS = ((1.254, 0.06, 0.1), (1.740, 0.06, 0.1), (6.404, 0.12, 0.18))  # keV: Mg, Si, Fe K; half, to beside


@dataclass(frozen=True)
class Crop:
    """Part of a real map, and what is published of its phases."""

    name: str
    cube: xr.Dataset
    absent: Mapping[str, list[str]]
    published: Mapping[str, Mapping[str, float]]

    def unmix(self) -> xr.Dataset:
        """All that is known of the phases is what they cannot hold."""
        return edxdask.psnmf(
            self.cube,
            phases=len(self.absent) + 1,
            elements=list(ELEMENTS),
            absent=dict(self.absent),
            progress=False,
        )


def data_folder() -> Path:
    """Where the real maps lie."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("EDXDASK_TEST_DATA") or default)


def crops() -> Iterator[tuple[str, Callable[[], Crop]]]:
    """Names of all parts, and how each is made; none where the files are absent."""
    absent, folder = {"Fp": ["Si"], "CaPv": ["Mg"]}, data_folder()
    if not all((folder / name).is_file() for name in ("71GPa_left.hspy", "88GPa_crop.hspy")):
        return
    whole = _read(folder / "71GPa_left.hspy")
    parts = {"whole": lambda: whole}
    for first, last in ((0, 100), (50, 150), (101, 201)):
        parts[f"rows {first}-{last}"] = lambda a=first, b=last: whole.isel(y=slice(a, b))
    for first, last in ((0, 50), (50, 100)):
        parts[f"columns {first}-{last}"] = lambda a=first, b=last: whole.isel(x=slice(a, b))
    for name, fraction in (("1/2", 0.5), ("1/4", 0.25)):
        parts[f"thinned to {name}"] = lambda f=fraction: thinned(whole, f)
    parts["binned by 2"] = lambda: whole.edx.bin(2)
    for name, part in parts.items():
        yield f"71 GPa {name}", lambda n=name, p=part: Crop(n, p(), absent, PUBLISHED_71)
    other = _read(folder / "88GPa_crop.hspy")  # it holds no CaPv
    yield "88 GPa", lambda: Crop("88 GPa", other, {"Fp": ["Si"]}, PUBLISHED_88)


def thinned(cube: xr.Dataset, fraction: float) -> xr.Dataset:
    """Keep each photon with a probability."""
    counts = cube[schema.COUNTS]
    kept = np.random.default_rng(0).binomial(counts.values, fraction)
    return cube.assign({schema.COUNTS: counts.copy(data=kept.astype(counts.dtype))})


def judge_crop(result: xr.Dataset, crop: Crop) -> Judgement:
    """Compare the major elements with the published ones."""
    warnings = [str(text) for text in result.attrs.get(schema.WARNINGS, ())]
    labels = [str(label) for label in result[schema.PHASE].values]
    figures, wrong, silent = [], [], False
    for phase, majors in crop.published.items():
        label = label_of(phase, labels, crop)
        row = result.sel({schema.PHASE: label})
        texts, right, within = [], True, True
        for element, published in majors.items():
            value, error = measured(row, element)
            texts.append(f"{element} {value:.1f} ± {error:.1f}")
            right &= abs(value - published) <= OFF_OF.get(phase, OFF) * published
            within &= abs(value - published) <= ERRORS * error
        figures.append(f"{phase} {' '.join(texts)}")
        if not right:
            said = within and is_open(warnings, label)
            silent |= not said
            named = "open" if is_open(warnings, label) else "nothing said"
            wrong.append(f"{phase}: {named}; {', '.join(texts)}; published {dict(majors)}")
    verdict = RIGHT if not wrong else SILENT if silent else SAID
    return Judgement(verdict, ", ".join(figures), sum(is_open(warnings, n) for n in labels), tuple(wrong))


def measured(row: xr.Dataset, element: str) -> tuple[float, float]:
    """At.% of an element in a phase, and its error."""
    value, error = (
        100 * float(row[name].sel({schema.ELEMENT: element}))
        for name in (schema.COMPOSITION, schema.COMPOSITION + schema.STD_SUFFIX)
    )
    return value, error


def label_of(phase: str, labels: list[str], crop: Crop) -> str:
    """Label of a published phase: the matrix has none of its own."""
    return next(label for label in labels if label not in crop.absent) if phase == MATRIX else phase


def chi2_of_parts(results: list[tuple[Crop, xr.Dataset]]) -> dict[str, float]:
    """χ² per degree of freedom of the major elements of each phase against their common mean."""
    found = {}
    for phase, majors in PUBLISHED_71.items():
        total, freedom = 0.0, 0
        for element in majors:
            pairs = []
            for crop, result in results:
                labels = [str(label) for label in result[schema.PHASE].values]
                pairs.append(measured(result.sel({schema.PHASE: label_of(phase, labels, crop)}), element))
            values, errors = np.array(pairs).T
            weights = 1 / np.maximum(errors, 1e-9) ** 2
            mean = (weights @ values) / weights.sum()
            total += float(weights @ (values - mean) ** 2)
            freedom += len(values) - 1
        found[phase] = total / max(freedom, 1)
    return found


def halves_without_unmixing(crop: Crop, result: xr.Dataset) -> list[tuple[float, float]]:
    """Mg K over Fe K of ferropericlase in the left and in the right half of a map, each with its error.

    Of the pixels with the most ferropericlase, less as many photons of bridgmanite as their Si K needs: sums
    of windows and of their surroundings, so nothing of this follows from a fit of spectra.
    """
    labels = [str(label) for label in result[schema.PHASE].values]
    maps = result[schema.ABUNDANCE].transpose(schema.PHASE, "y", "x").sel({schema.PHASE: ["Fp"]}).values[0]
    matrix = result[schema.ABUNDANCE].sel({schema.PHASE: label_of(MATRIX, labels, crop)}).transpose("y", "x")
    counts, energy = (
        crop.cube[schema.COUNTS].transpose("y", "x", schema.ENERGY),
        crop.cube[schema.ENERGY].values,
    )
    found = []
    for half in np.array_split(np.arange(maps.shape[1]), 2):
        spectra = [
            counts.values[:, half][mask[:, half]].sum(axis=0, dtype=np.int64)
            for mask in (maps > MUCH_FP, matrix.values > ALL_BRG)
        ]
        nets = np.array([[_net(one, energy, *window) for window in WINDOWS] for one in spectra])
        scale = nets[0, 1, 0] / nets[1, 1, 0]
        values = nets[0, :, 0] - scale * nets[1, :, 0]
        errors = np.hypot(nets[0, :, 1], scale * nets[1, :, 1])
        ratio = values[0] / values[2]
        found.append((float(ratio), float(ratio * np.hypot(errors[0] / values[0], errors[2] / values[2]))))
    return found


def _net(spectrum: np.ndarray, energy: np.ndarray, at: float, half: float, gap: float) -> tuple[float, float]:
    """Counts of a peak above its surroundings, and their error."""
    away = np.abs(energy - at)
    peak, beside = away < half, (away > gap) & (away < gap + half)
    part = peak.sum() / beside.sum()
    total, ground = float(spectrum[peak].sum()), float(spectrum[beside].sum())
    return total - part * ground, float(np.sqrt(total + part**2 * ground))


def _read(path: Path) -> xr.Dataset:
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "map.zarr"
        edxdask.ingest(path, store, progress=False)
        return edxdask.open(store).load()
