"""Sweeps of the multiplicative updates over one block, and products of its counts with narrow matrices.

Each function takes a ``PhotonBlock`` or a ``SweepBlock`` and gives the same numbers for both; for several
sweeps, arrange it first (``for_sweeps``, ``hold_dense``). The work is done by the kernels of the backend.
"""

from __future__ import annotations

import math

import numpy as np

from edxdask.errors import ParameterError
from edxdask.photons.kernels.backend import kernels
from edxdask.photons.kernels.contract import BlockArrays, SweepOptions
from edxdask.photons.kernels.square_sum import square_sum
from edxdask.photons.sweep_block import Block, SweepBlock, counts_of, for_sweeps
from edxdask.photons.sweep_statistics import EPSILON, FroSweep, Sweep, check_factors, check_width

SMALLEST_FIT = 1e-18  # where no phase has counts: a constant that changes no fraction, and has a square


def kl_sweep(
    block: Block,
    abundance: np.ndarray,
    spectra: np.ndarray,
    *,
    inner: int = 1,
    update_abundance: bool = True,
    spectra_statistics: bool = True,
    log_term: bool = True,
    frozen: np.ndarray | None = None,
) -> Sweep:
    """One multiplicative (EM) update of the abundances, and the statistics for that of the spectra.

    A ← A · (Σ_e r S) / (Σ_e S) with r = y / ŷ at the counts; then Σ_i r A at the *new* abundances, which is
    scikit-learn's order. ``numerator / column_sums`` is the factor by which the spectra change.

    Parameters
    ----------
    block
        Counts of ``n`` pixels and ``E`` channels.
    abundance
        (n, k), C-contiguous, float32 or float64; changed in place. Zeros stay zeros, which
        forbids an entry; others stop at 1e-19 counts in single precision (``least_of``).
    spectra
        (k, E) of the same dtype; rows of any positive sum.
    inner
        Abundance updates before the statistics; a pixel's photons stay in the cache.
    update_abundance, spectra_statistics, log_term
        What to compute; logarithms are a quarter of the work.
    frozen
        (k,) phases that keep their abundance.

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> block = from_dense(np.array([[4, 0], [1, 3]], dtype=np.uint16))
    >>> abundance = np.array([[2.0, 2.0], [2.0, 2.0]])
    >>> sweep = kl_sweep(block, abundance, np.array([[0.75, 0.25], [0.25, 0.75]]))
    >>> abundance.tolist()
    [[3.0, 1.0], [1.5, 2.5]]
    """
    factors = check_factors(block.pixels, block.channels, abundance, spectra, inner=inner, frozen=frozen)
    options = SweepOptions(inner, update_abundance, spectra_statistics, log_term)
    found = kernels().likelihood_sweep(
        _arrays(block), abundance, factors.spectra, factors.rules, EPSILON, options
    )
    return Sweep(found.numerator, found.after, found.before, found.log_term if log_term else math.nan)


def frobenius_sweep(
    block: Block,
    abundance: np.ndarray,
    spectra: np.ndarray,
    *,
    gram: np.ndarray | None = None,
    inner: int = 1,
    update_abundance: bool = True,
    spectra_statistics: bool = True,
    frozen: np.ndarray | None = None,
) -> FroSweep:
    """One multiplicative update of the abundances for least squares, and the statistics of the spectra.

    A ← A · (X Sᵀ) / (A S Sᵀ), then AᵀX and AᵀA at the new abundances (scikit-learn's order); the spectra
    change by the factor ``numerator / (gram @ spectra)``.

    Parameters
    ----------
    block, abundance, spectra, inner, update_abundance, spectra_statistics, frozen
        As in ``kl_sweep``.
    gram
        (k, k) S Sᵀ, if it is known.

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> block = from_dense(np.array([[4, 0], [1, 3]], dtype=np.uint16))
    >>> abundance = np.ones((2, 2))
    >>> frobenius_sweep(block, abundance, np.eye(2)).loss_entry, abundance.tolist()
    (7.0, [[4.0, 0.0], [1.0, 3.0]])
    """
    factors = check_factors(block.pixels, block.channels, abundance, spectra, inner=inner, frozen=frozen)
    own = spectra @ spectra.T if gram is None else np.asarray(gram, dtype=factors.dtype)
    options = SweepOptions(inner, update_abundance, spectra_statistics, False)
    found = kernels().squares_sweep(
        _arrays(block), abundance, factors.spectra, own, factors.rules, EPSILON, options
    )
    return FroSweep(found.numerator, found.gram, found.cross, found.quadratic, squares(block))


def likelihood_model(
    block: Block, amounts: np.ndarray, spectra: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Slopes and curvatures of Σ y log ŷ of every pixel, ŷ = Σ_k a_k S_k, and the sum itself.

    Returns
    -------
    slopes : (n, k), Σ_e y S_k / ŷ
    curvatures : (n, (k - 1) k / 2), Σ_e y D_c D_d / ŷ² with D_c = S_c - S_last, for d <= c row by row
    log_term : Σ y log ŷ

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> block = from_dense(np.array([[4, 2]], dtype=np.uint16))
    >>> slopes, curvatures, _ = likelihood_model(block, np.array([[0.5, 0.5]]), np.eye(2))
    >>> slopes.tolist(), curvatures.tolist()
    ([[8.0, 4.0]], [[24.0]])
    """
    check_factors(block.pixels, block.channels, amounts, spectra, inner=1, frozen=None)
    above = spectra[:-1] - spectra[-1:]
    rows, columns = np.tril_indices(len(above))
    products = np.ascontiguousarray((above[rows] * above[columns]).T)
    return kernels().likelihood_model(_arrays(block), amounts, spectra, products, SMALLEST_FIT)


def extrapolate_ratios(now: np.ndarray, before: np.ndarray, momentum: float) -> None:
    """Move ``now`` further along its step from ``before``, which becomes what ``now`` was; both C-contiguous.

    By ratios, ``now · (now / before) ** momentum``: zeros stay zeros, no number more than halves or doubles.

    Examples
    --------
    >>> now, before = np.array([4.0, 1.0, 0.0]), np.array([1.0, 100.0, 0.0])
    >>> extrapolate_ratios(now, before, 0.5)
    >>> now.tolist(), before.tolist()
    ([8.0, 0.5, 0.0], [4.0, 1.0, 0.0])
    """
    kernels().extrapolate(now.reshape(-1), before.reshape(-1), momentum)


def _arrays(block: Block) -> BlockArrays:
    return (block if isinstance(block, SweepBlock) else for_sweeps(block)).arrays


def entropy_term(block: Block) -> float:
    """Return Σ (y log y - y), the part of the Kullback-Leibler divergence that no factor changes.

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> entropy_term(from_dense(np.array([[1, 0, 1]], dtype=np.uint16)))
    -2.0
    """
    return sum(_entropy_of(count) for count in counts_of(block))


def _entropy_of(count: np.ndarray) -> float:
    if count.dtype.itemsize > 2:
        large = count[count > 0].astype(np.float64)
        return float(np.sum(large * np.log(large) - large))
    times = np.bincount(count)[1:].astype(np.float64)  # 65536 logarithms at most
    size = np.arange(1, times.size + 1, dtype=np.float64)
    return float(np.sum(times * (size * np.log(size) - size)))


def squares(block: Block) -> float:
    """Return Σ y².

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> squares(from_dense(np.array([[1, 0, 3]], dtype=np.uint16)))
    10.0
    """
    return float(sum(square_sum(count) for count in counts_of(block)))


def project(block: Block, basis: np.ndarray) -> np.ndarray:
    """Return the counts times a narrow matrix: (n, p) = Y V for V of (E, p), in V's dtype.

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> project(from_dense(np.array([[4, 0], [1, 3]], dtype=np.uint16)), np.array([[1.0], [-1.0]])).tolist()
    [[4.0], [-2.0]]
    """
    _check_matrix("basis", basis, block.channels)
    return kernels().project(_arrays(block), basis, block.pixels)


def back_project(block: Block, values: np.ndarray) -> np.ndarray:
    """Return the transposed counts times a narrow matrix: (E, p) float64 = Yᵀ U for U of (n, p).

    Examples
    --------
    >>> from edxdask.photons import from_dense
    >>> block = from_dense(np.array([[4, 0], [1, 3]], dtype=np.uint16))
    >>> back_project(block, np.array([[1.0], [2.0]])).tolist()
    [[6.0], [6.0]]
    """
    _check_matrix("values", values, block.pixels)
    return kernels().back_project(_arrays(block), values, block.channels)


def _check_matrix(name: str, matrix: np.ndarray, rows: int) -> None:
    if matrix.ndim != 2 or matrix.shape[0] != rows or matrix.dtype not in (np.float32, np.float64):
        raise ParameterError(name, f"{matrix.dtype} {matrix.shape}", f"a float array of {rows} rows")
    check_width(name, matrix.shape[1])
