"""Bremsstrahlung from a thin film."""

from __future__ import annotations

import numpy as np

from edxdask.physics.emission import beta_squared
from edxdask.physics.lines import atomic_number

# 16π/(3√3) α r_e², the constant of Kramers' law as a cross-section; H. A. Kramers, Phil. Mag. 46 (1923) 836,
# with α = 1/137.036 and r_e = 2.8179403e-13 cm (CODATA 2018).
KRAMERS_CM2 = 16.0 * np.pi / (3.0 * np.sqrt(3.0)) * (2.8179403e-13**2) / 137.036

# Real 200 keV maps of mantle minerals show 2.0 to 2.4 times the Kramers continuum between 2 and 10 keV, as
# part of it comes from the column, the holder and electrons scattered onto the grid.
MEASURED_OVER_KRAMERS = 2.0


def continuum_shapes(energy: np.ndarray, *, beam_energy: float) -> np.ndarray:
    """Lifshin's two shapes, (E0-e)/e and (E0-e)²/e, scaled to 1/e as e → 0: (2, channels).

    E. Lifshin, Proc. 9th Ann. Conf. Microbeam Anal. Soc. (1974) 53. They are 0 outside 0 < e < E0.

    Examples
    --------
    >>> continuum_shapes(np.array([-1.0, 50.0, 100.0]), beam_energy=100.0).tolist()
    [[0.0, 0.01, 0.0], [0.0, 0.005, 0.0]]
    """
    energy = np.asarray(energy, dtype=np.float64)
    inside = (energy > 0) & (energy < beam_energy)
    safe = np.where(inside, energy, 1.0)
    rest = np.where(inside, 1.0 - safe / beam_energy, 0.0)
    return np.stack([rest / safe, rest**2 / safe])


def bremsstrahlung(
    element: str, energy: np.ndarray, *, beam_energy: float, quadratic: float = 0.5
) -> np.ndarray:
    """Cross-section (cm²/keV per atom) to emit a photon of ``energy`` keV.

    Kramers' law, Z²/(β² e), with Lifshin's fall towards the beam energy; ``quadratic`` is the fraction of his
    second shape. Good to a factor of two: it leaves out screening and the angle of emission.
    """
    linear, square = continuum_shapes(energy, beam_energy=beam_energy)
    height = KRAMERS_CM2 * atomic_number(element) ** 2 / beta_squared(beam_energy)
    return height * ((1.0 - quadratic) * linear + quadratic * square)
