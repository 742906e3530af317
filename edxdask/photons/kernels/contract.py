"""What a backend of kernels offers, and the arrays it is given: the place for another one (a GPU's).

A backend is a module with the functions of ``Kernels``; ``backend.py`` chooses among them, and no other code
asks which one it is. All take and give C-contiguous NumPy arrays in the machine's byte order; what they copy
them to (rows padded to whole vectors, memory of a device) is private to them. ``arrangement.py`` makes the
arrays of a block for all of them, so that blocks may be kept in files and travel between machines that run
different backends.

Letters: n pixels, k phases, E channels, p columns, h channels held dense.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np


class BlockArrays(NamedTuple):
    """The counts of n pixels, arranged for sweeps; see ``arrangement.py`` for lanes, groups and batches.

    Attributes
    ----------
    dense_channels : (h,) intp, the channels held dense, rising
    dense : (groups of pixels, h, lanes), their counts; pixel ``i`` is lane ``i % lanes`` of a group
    batch_starts : (batches + 1,) int64; strips of the photons in other channels, of a batch of pixels each,
        are in groups ``batch_starts[b]`` to ``batch_starts[b + 1]``
    group_starts : (groups + 1,) int64; the photons of a group are in rows from ``group_starts[g]`` on
    owner : (groups, lanes) uint8, pixel of the batch that each strip of a group belongs to
    channel : (rows, lanes) uint16, the photons' channels; they rise along a strip
    counts : (rows, lanes), the photons' counts, which end in zeros; as ``dense`` uint8 or uint32
    """

    dense_channels: np.ndarray
    dense: np.ndarray
    batch_starts: np.ndarray
    group_starts: np.ndarray
    owner: np.ndarray
    channel: np.ndarray
    counts: np.ndarray


class UpdateRules(NamedTuple):
    """How abundances change; all (k,) float64.

    Attributes
    ----------
    rate : one over the row sum of the phase's spectrum, or 0 where it is frozen
    keep : 1 where the phase is frozen, else 0
    least : the least abundance that is not zero, or 0 where it is frozen
    """

    rate: np.ndarray
    keep: np.ndarray
    least: np.ndarray


class SweepOptions(NamedTuple):
    """What a sweep does.

    Attributes
    ----------
    inner : updates of the abundances
    update : write the abundances back
    statistics : make the sums for the spectra
    logs : sum the logarithms of the fits before the first update
    """

    inner: int
    update: bool
    statistics: bool
    logs: bool


class LikelihoodSums(NamedTuple):
    """What a Kullback-Leibler sweep found, all in float64.

    Attributes
    ----------
    numerator : (k, E), Σ_i r(i, e) A(i, k) at the new abundances; (k, 0) without ``statistics``
    before, after : (k,), Σ_i A(i, k) before and after the updates
    log_term : Σ y log ŷ before the first update; 0 without ``logs``
    """

    numerator: np.ndarray
    before: np.ndarray
    after: np.ndarray
    log_term: float


class SquareSums(NamedTuple):
    """What a Frobenius sweep found, all in float64.

    Attributes
    ----------
    numerator : (k, E), Aᵀ Y at the new abundances; (k, 0) without ``statistics``
    gram : (k, k), Aᵀ A likewise; (k, 0) without ``statistics``
    cross : <Y, A S> before the updates
    quadratic : |A S|² before the updates
    """

    numerator: np.ndarray
    gram: np.ndarray
    cross: float
    quadratic: float


class Kernels(Protocol):
    """The functions of a backend; ``F`` is float32 or float64, the same in all arguments of a call."""

    def count_nonzeros(self, rows: np.ndarray, indptr: np.ndarray) -> None:
        """Fill ``indptr``, (n + 1,) int64 that begins with 0, with the running number of non-zeros.

        ``rows`` is (n, E) uint8, uint16 or uint32.
        """

    def fill_nonzeros(
        self, rows: np.ndarray, indptr: np.ndarray, channel: np.ndarray, count: np.ndarray
    ) -> None:
        """Write channel (uint16) and count (uint8 or uint32) of every non-zero, pixel by pixel."""

    def likelihood_sweep(
        self,
        block: BlockArrays,
        abundance: np.ndarray,
        spectra: np.ndarray,
        rules: UpdateRules,
        floor: float,
        options: SweepOptions,
    ) -> LikelihoodSums:
        """Update ``abundance`` (n, k) F in place by those of ``spectra`` (k, E) F; see ``sweeps.kl_sweep``.

        A ← lift(A · (rate · Σ_e r S + keep)) with r = y / max(ŷ, floor); ``lift`` raises what is above zero
        to ``least``.
        """

    def squares_sweep(
        self,
        block: BlockArrays,
        abundance: np.ndarray,
        spectra: np.ndarray,
        gram: np.ndarray,
        rules: UpdateRules,
        floor: float,
        options: SweepOptions,
    ) -> SquareSums:
        """Update for least squares, with ``gram`` (k, k) F = S Sᵀ; see ``sweeps.frobenius_sweep``.

        A ← lift(A · Y Sᵀ / (A S Sᵀ)), with zeros below replaced by ``floor``, and 1 for frozen phases.
        """

    def likelihood_model(
        self, block: BlockArrays, amounts: np.ndarray, spectra: np.ndarray, products: np.ndarray, floor: float
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """Return slopes (n, k) F = Σ_e y S / ŷ, curvatures (n, p) F = Σ_e y P / ŷ², and Σ y log ŷ.

        ``products`` is P, (E, p) F; fits are no smaller than ``floor``.
        """

    def project(self, block: BlockArrays, basis: np.ndarray, pixels: int) -> np.ndarray:
        """Return counts times ``basis`` (E, p) F: (n, p) F."""

    def back_project(self, block: BlockArrays, values: np.ndarray, channels: int) -> np.ndarray:
        """Return transposed counts times ``values`` (n, p) F: (E, p) float64."""

    def extrapolate(self, now: np.ndarray, before: np.ndarray, momentum: float) -> None:
        """Multiply ``now`` by (now / before) ** momentum; ``before`` becomes what ``now`` was; both flat F.

        The factor is between a half and two, and is 1 where ``before`` is zero.
        """
