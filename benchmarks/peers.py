"""Other programs on the same counts, their factors in the form of our results, for ``accuracy.py``."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning

from edxdask import schema
from edxdask.physics.absorption import NM_PER_CM
from edxdask.physics.conditions import Conditions
from edxdask.physics.detector import SILICON_DENSITY_G_CM3, fwhm_kev

SCIKIT_ITERATIONS = 200
ESPM_ITERATIONS = 200  # in its guide to a spectrum image (notebooks/api.ipynb, version 1.1.3)
# Fractions of a pixel sum to 1, as in its authors' paper (Mach. Learn.: Sci. Technol. 5 (2024) 045050).
# Without that, as in the guide, it was further from the truth (spheres147, 200 iterations: 9.9, 22 and 57
# degrees). The guide's tolerance of 1e-6 would stop it early.
ESPM_OPTIONS = {"tol": 1e-8, "simplex_H": True, "simplex_W": False}
ESPM_ENVIRONMENT = (
    "python3.11 -m venv ENV; ENV/bin/python -m pip install espm==1.1.3 hyperspy==2.2.0 exspy==0.3.1 "
    "numpy==1.26.4 'setuptools<81'"
)
ALUMINIUM_DENSITY_G_CM3 = 2.70
# espm's defaults for simulations
ESPM_DETECTOR = {"detector": "SDD_efficiency.txt", "fwhm_slope": 0.01, "fwhm_at_0_kev": 0.065}


def as_result(cube: xr.Dataset, spectra: np.ndarray, maps: np.ndarray) -> xr.Dataset:
    """Give a peer's factors, ``(phase, energy)`` and ``(phase, y, x)``, the form of our results."""
    sums = np.where(spectra.sum(axis=1) > 0, spectra.sum(axis=1), 1.0)
    amounts = np.maximum(maps, 0) * sums[:, None, None]
    total = amounts.sum(axis=0)
    fractions = np.divide(amounts, total, out=np.zeros_like(amounts), where=total > 0)
    pixels = schema.pixel_dims(cube)
    return xr.Dataset(
        {
            schema.SPECTRUM: ((schema.PHASE, schema.ENERGY), spectra / sums[:, None]),
            schema.ABUNDANCE: ((schema.PHASE, *pixels), fractions),
            schema.TOTAL: (pixels, total),
        },
        coords={
            schema.ENERGY: cube[schema.ENERGY],
            schema.PHASE: [f"phase_{i}" for i in range(len(spectra))],
        },
    )


def scikit_learn(cube: xr.Dataset, phases: int) -> tuple[xr.Dataset, float]:
    """scikit-learn's multiplicative KL-NMF; the result and processor seconds."""
    counts = cube[schema.COUNTS].values
    flat = counts.reshape(-1, counts.shape[-1]).astype(np.float32)
    model = NMF(
        phases,
        init="nndsvda",
        solver="mu",
        beta_loss="kullback-leibler",
        max_iter=SCIKIT_ITERATIONS,
        tol=1e-4,
    )
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        abundance = model.fit_transform(flat)
    seconds = time.process_time() - begin
    maps = abundance.T.reshape(phases, *counts.shape[:-1])
    return as_result(cube, model.components_.astype(float), maps.astype(float)), seconds


def hyperspy(cube: xr.Dataset, phases: int, python: str) -> tuple[xr.Dataset, float]:
    """HyperSpy's NMF, in its own environment."""
    result, seconds, _ = _elsewhere(python, "hyperspy_nmf.py", cube, str(phases))
    return result, seconds


def espm(
    cube: xr.Dataset,
    phases: int,
    python: str,
    elements: Sequence[str],
    stated: Mapping[str, Any],
    *,
    iterations: int = ESPM_ITERATIONS,
) -> tuple[xr.Dataset, float, str]:
    """espm's physics-guided NMF, in its own environment; ``stated`` is what ``espm_knows`` returns.

    The last value is a remark: iterations done.
    """
    energy = cube[schema.ENERGY].values
    settings = {
        "elements": list(elements),
        "energy_first_kev": float(energy[0]),
        "energy_last_kev": float(energy[-1]),
        "options": {**ESPM_OPTIONS, "max_iter": iterations},
        **stated,
    }
    result, seconds, done = _elsewhere(python, "espm_nmf.py", cube, str(phases), json.dumps(settings))
    return result, seconds, f"{done} iterations"


def espm_knows(cube: xr.Dataset) -> dict[str, Any]:
    """Film, beam and detector of our simulator in espm's words.

    Its peaks widen linearly with energy: the line is fitted where the counts are, which leaves spectra of its
    basis 1.2 to 1.5 degrees from the true ones at best (fitted to all channels alike, 2.5 to 3).
    """
    conditions = Conditions.of(cube.attrs)
    detector, energy = conditions.detector, cube[schema.ENERGY].values
    width = fwhm_kev(energy, fwhm_mn_ka_ev=detector.fwhm_mn_ka_ev)
    counts = cube[schema.COUNTS].sum(schema.pixel_dims(cube)).values
    slope, intercept = np.polyfit(energy, width, 1, w=np.sqrt(counts))

    def layer(element: str, thickness_cm: float, density: float) -> dict[str, Any]:
        return {
            "thickness": thickness_cm,
            "density": density,
            "atomic_fraction": False,
            "elements_dict": {element: 1.0},
        }

    return {
        "beam_energy_kev": conditions.beam_energy,
        "elevation_deg": detector.elevation_deg[0],
        "thickness_nm": conditions.thickness_nm,
        "density_g_cm3": conditions.density_g_cm3,
        "fwhm_slope": float(slope),
        "fwhm_at_0_kev": float(intercept),
        "detector": {
            "detection": layer("Si", 0.1 * detector.active_mm, SILICON_DENSITY_G_CM3),
            "dead_layer": layer("Si", detector.dead_layer_nm / NM_PER_CM, SILICON_DENSITY_G_CM3),
            "contact": layer("Al", detector.contact_nm / NM_PER_CM, ALUMINIUM_DENSITY_G_CM3),
        },
    }


def _elsewhere(
    python: str, program: str, cube: xr.Dataset, *arguments: str
) -> tuple[xr.Dataset, float, int | None]:
    """Run a program beside this one with another interpreter: its result, processor seconds, iterations."""
    path = str(Path(__file__).with_name(program))
    with tempfile.TemporaryDirectory() as folder:
        counts, answer = Path(folder) / "counts.npy", Path(folder) / "result.npz"
        np.save(counts, cube[schema.COUNTS].values)
        command = [python, path, str(counts), str(answer), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with exit code {done.returncode}:\n{done.stderr}")
        with np.load(answer) as file:
            result = as_result(cube, file["spectra"].astype(float), file["maps"].astype(float))
            return result, float(file["seconds"]), int(file["iterations"]) if "iterations" in file else None
