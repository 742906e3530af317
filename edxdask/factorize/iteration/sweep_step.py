"""The block step of the multiplicative updates.

State of a pixel: ``abundance`` (k), and ``previous`` (k) where steps are extrapolated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edxdask.engine.partition import Partition
from edxdask.engine.step import Halo, State, Stats, rows_of
from edxdask.photons import Block, extrapolate_ratios, frobenius_sweep, kl_sweep

ABUNDANCE, PREVIOUS = "abundance", "previous"
SOFT_COUNTS = np.float32(1.0)  # below which log-sparsity no longer grows
# Log-sparsity of abundances, in counts: a phase that explains no more than noise in a bin is removed
# from it. Without it, noise that cannot go below zero gives every phase a little everywhere, and spectra
# change to compensate (mantle map at 15 counts per pixel: Brg off by 0.4 to 0.7 deg, with it by 0.1 to 0.2).
SPARSITY = 1.0

Loss = Literal["kl", "frobenius"]


@dataclass(frozen=True)
class Call:
    """Factors of one round, as they travel to the partitions.

    Attributes
    ----------
    spectra : (k, E)
    momentum : fraction of the last step that is added before the sweep
    undo : start from ``previous``: the last extrapolated sweep raised the objective
    look : compute the objective; where it costs nothing it is there anyway
    """

    spectra: np.ndarray
    momentum: float = 0.0
    undo: bool = False
    look: bool = True


@dataclass(frozen=True)
class SweepStep:
    """One multiplicative update of the abundances, and the statistics for that of the spectra.

    Attributes
    ----------
    inner : abundance updates per round; their photons stay in the cache, so they are cheap
    spectra_statistics : False where the spectra are known and only abundances change
    update_abundance : False where the abundances are known and only spectra change, KL only
    sparsity : log-sparsity μ of the abundances in counts: adds μ Σ log(1 + A) to the KL divergence, for
        spectra that sum to 1
    """

    loss: Loss = "kl"
    inner: int = 1
    spectra_statistics: bool = True
    update_abundance: bool = True
    sparsity: float = 0.0
    halo_rows: int = 0
    halo_names: tuple[str, ...] = ()

    def run(self, partition: Partition, state: State, shared: Call, halo: Halo) -> Stats:
        """Update ``abundance`` in place."""
        total: Stats = {}
        for where, block in partition.blocks():
            abundance = rows_of(state, ABUNDANCE, where)
            if PREVIOUS in state:
                previous = rows_of(state, PREVIOUS, where)
                if shared.undo:
                    abundance[:] = previous
                extrapolate(abundance, previous, shared.momentum)
            if self.sparsity:  # the tangent of the logarithm as majorant: a sweep's photons put sums right
                abundance /= 1 + self.sparsity / (abundance + SOFT_COUNTS)
            stats = self._sweep(block, abundance, shared.spectra, shared.look)
            total = {key: total[key] + stats[key] for key in total} if total else stats
        return total

    def _sweep(self, block: Block, abundance: np.ndarray, spectra: np.ndarray, look: bool) -> Stats:
        if self.loss == "kl":
            kl = kl_sweep(
                block,
                abundance,
                spectra,
                inner=self.inner,
                update_abundance=self.update_abundance,
                spectra_statistics=self.spectra_statistics,
                log_term=look,
            )
            expected = float(kl.column_sums_entry @ spectra.sum(axis=1, dtype=np.float64))
            return {
                "numerator": kl.numerator,
                "column_sums": kl.column_sums,
                "loss": expected - kl.log_term,
            }
        fro = frobenius_sweep(
            block, abundance, spectra, inner=self.inner, spectra_statistics=self.spectra_statistics
        )
        loss = 0.5 * (fro.square - 2 * fro.cross + fro.quadratic)
        return {"numerator": fro.numerator, "gram": fro.gram, "loss": loss}


def extrapolate(now: np.ndarray, before: np.ndarray, momentum: float) -> None:
    """Move ``now`` on in its direction from ``before``, which becomes what ``now`` was; both C-contiguous.

    By ratios: factors stay positive, zeros stay zeros, none more than halves or doubles. Steps by differences
    drive low factors to the floor, from where multiplicative updates come back slowly: on a mantle map they
    needed more rounds than no extrapolation, ratios a quarter of them.

    Examples
    --------
    >>> now, before = np.array([4.0, 1.0, 0.0]), np.array([1.0, 100.0, 0.0])
    >>> extrapolate(now, before, 0.5)
    >>> now.tolist(), before.tolist()
    ([8.0, 0.5, 0.0], [4.0, 1.0, 0.0])
    """
    if momentum == 0:
        before[...] = now
    else:
        extrapolate_ratios(now, before, momentum)
