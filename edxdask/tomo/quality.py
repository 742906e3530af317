"""Which projections a volume explains: chi-squared of each tilt, and names of those that do not fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# A tilt is named if its chi-squared is this many scatters above that of the other tilts ...
SCATTERS = 6.0
# ... and this much above it, relative: large counts show the smallest fault of any model
LEAST_EXCESS = 0.15
MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class TiltMisfit:
    """Chi-squared sums of tilts, over blocks of pixels; those of slabs add up.

    Parameters
    ----------
    chi2 : ndarray
        (tilt,) sums over blocks.
    blocks : ndarray
        (tilt,) numbers of blocks.
    """

    chi2: np.ndarray
    blocks: np.ndarray

    def __add__(self, other: TiltMisfit) -> TiltMisfit:
        """Join the blocks of two slabs."""
        return TiltMisfit(self.chi2 + other.chi2, self.blocks + other.blocks)

    @property
    def reduced(self) -> np.ndarray:
        """Chi-squared per block, (tilt,): near 1 where the volume explains a tilt; nan without blocks."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.chi2 / self.blocks)


def reasons(misfit: TiltMisfit) -> list[str]:
    """Say for each tilt why it does not fit; empty where it does.

    What all tilts have in common, as too strong a prior or a spectrum that is a little wrong, names none.

    Examples
    --------
    >>> blocks = np.full(5, 400)
    >>> found = reasons(TiltMisfit(blocks * np.array([1.0, 1.05, 2.5, 0.97, 1.0]), blocks))
    >>> [bool(text) for text in found]
    [False, False, True, False, False]
    """
    reduced, out = misfit.reduced, [""] * len(misfit.chi2)
    seen = np.isfinite(reduced)
    if not seen.any():
        return ["no photons"] * len(out)
    for tilt in np.flatnonzero(~seen):
        out[tilt] = "too few photons to judge"
    middle = float(np.median(reduced[seen]))
    scatter = MAD_TO_SIGMA * float(np.median(np.abs(reduced[seen] - middle)))
    for tilt in np.flatnonzero(seen):
        # of blocks with a normal error; the scatter of few tilts may be small by chance
        counted = middle * np.sqrt(2.0 / misfit.blocks[tilt])
        limit = middle + max(SCATTERS * max(scatter, counted), LEAST_EXCESS * middle)
        if reduced[tilt] > limit:
            out[tilt] = (
                f"chi-squared per block of pixels is {reduced[tilt]:.2f}, in the middle of all tilts "
                f"{middle:.2f}: it is moved or turned, of another dose, or of another place"
            )
    return out
