"""Whether volumes of phases are pure somewhere: the sign that their spectra are those of phases.

Fisher errors of volumes take spectra as known, and held-out photons prefer any two mixtures of phases to
one of them, so neither sees that ``psnmf`` has lost a phase. In three dimensions phases stand beside one
another, not behind one another: a spectrum that is a mixture fills voxels together with others nearly
everywhere. On the phantom with 5 photons per pixel 34 % of the smallest phase's volume is where it
prevails with the true spectra, and 10 % with those found, which are off by 26 degrees; with 20 photons 47
and 27 %, off by 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PREVAILS = 0.6  # of what fills a voxel
LEAST_PURE = 0.2  # of a phase's volume, where it prevails


@dataclass(frozen=True)
class Mixing:
    """Volumes of phases, and the parts of them where each prevails; those of slabs add up.

    Parameters
    ----------
    pure, whole : ndarray
        (phase,) sums over voxels.
    """

    pure: np.ndarray
    whole: np.ndarray

    def __add__(self, other: Mixing) -> Mixing:
        """Join two slabs."""
        return Mixing(self.pure + other.pure, self.whole + other.whole)


def mixing_of(volume: np.ndarray) -> Mixing:
    """Sum a volume (phase, z, y, x), and where each phase prevails.

    Examples
    --------
    >>> found = mixing_of(np.array([0.9, 0.5, 0.1, 0.5]).reshape(2, 1, 1, 2))
    >>> found.pure.round(2), found.whole.round(2)
    (array([0.9, 0. ]), array([1.4, 0.6]))
    """
    pure, whole = np.zeros(len(volume)), np.zeros(len(volume))
    for plane in range(volume.shape[1]):
        here = volume[:, plane].astype(np.float64)
        prevails = here > PREVAILS * here.sum(axis=0)
        pure += (here * prevails).sum(axis=(1, 2))
        whole += here.sum(axis=(1, 2))
    return Mixing(pure, whole)


def mixing_warnings(mixing: Mixing, labels: Sequence[str]) -> list[str]:
    """Name phases that are hardly anywhere pure, and those without any volume.

    Examples
    --------
    >>> mixing_warnings(Mixing(np.array([90.0, 0.5]), np.array([100.0, 8.0])), ["Brg", "Fp"])[0][:52]
    'Fp: only 6 % of its volume is where it prevails (60 '
    """
    if len(labels) < 2:
        return []
    out = []
    for label, pure, whole in zip(labels, mixing.pure, mixing.whole, strict=True):
        if whole <= 0:
            out.append(f"{label}: fills no voxel; look for one phase less")
        elif pure < LEAST_PURE * whole:
            out.append(
                f"{label}: only {100 * pure / whole:.0f} % of its volume is where it prevails "
                f"({100 * PREVAILS:.0f} % of what fills a voxel). Its spectrum is probably that of a "
                "mixture, or it is finer than the photons resolve: do not trust its volume. More photons, or "
                "elements=[...] and absent={...}, help"
            )
    return out
