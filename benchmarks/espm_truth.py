"""True spectra that espm computes, in an environment of its own, from its own tables of emission."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from peers import espm_knows

from edxdask import schema

PROGRAM = Path(__file__).with_name("espm_spectra.py")


def spectra(
    blank: xr.Dataset,
    phases: Mapping[str, Mapping[str, float]],
    densities: Sequence[float],
    expected: np.ndarray,
    python: str,
) -> np.ndarray:
    """Compute a spectrum for each phase, (phase, energy), each of which sums to 1.

    Parameters
    ----------
    blank : axis, film, beam; its counts play no part
    densities : g/cm³ of each phase
    expected : (energy,) where espm's width of peaks, a straight line, should be most like ours
    python : of an environment with espm
    """
    weighed = blank.copy()
    weighed[schema.COUNTS] = blank[schema.COUNTS].copy(
        data=np.broadcast_to(np.rint(1e6 * expected / expected.sum()), blank[schema.COUNTS].shape)
    )
    energy = blank[schema.ENERGY].values
    asked = {
        **espm_knows(weighed),
        "energy_first_kev": float(energy[0]),
        "energy_last_kev": float(energy[-1]),
        "channels": int(energy.size),
        "phases": [
            {"atoms": dict(atoms), "density_g_cm3": density}
            for atoms, density in zip(phases.values(), densities, strict=True)
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "spectra.npy"
        command = [python, str(PROGRAM), json.dumps(asked), str(answer)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with exit code {done.returncode}:\n{done.stderr}")
        found = np.load(answer)
    return np.asarray(found / found.sum(axis=1, keepdims=True))
