"""What a sweep over one block returns, and what every sweep needs before it starts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from edxdask.errors import ParameterError
from edxdask.photons.kernels.contract import UpdateRules

MAX_PHASES = 32
# scikit-learn's clamp: a smaller fit is replaced by it, so that no ratio and no logarithm is infinite.
EPSILON = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Sweep:
    """Statistics of one Kullback-Leibler sweep; those of several blocks add up.

    Attributes
    ----------
    numerator : (k, E) float64, Σ_i r(i, e) A(i, k); (k, 0) without spectra statistics
    column_sums : (k,) float64, Σ_i A(i, k) after the update
    column_sums_entry : (k,) float64, the same before it
    log_term : Σ y log ŷ before the update; NaN where it was not requested
    """

    numerator: np.ndarray
    column_sums: np.ndarray
    column_sums_entry: np.ndarray
    log_term: float

    def __add__(self, other: Sweep) -> Sweep:
        return Sweep(
            self.numerator + other.numerator,
            self.column_sums + other.column_sums,
            self.column_sums_entry + other.column_sums_entry,
            self.log_term + other.log_term,
        )

    def loss_entry(self, spectra: np.ndarray, entropy: float) -> float:
        """Generalised Kullback-Leibler divergence before the update; ``entropy`` from ``entropy_term``."""
        expected = float(self.column_sums_entry @ spectra.sum(axis=1, dtype=np.float64))
        return entropy - self.log_term + expected


@dataclass(frozen=True)
class FroSweep:
    """Statistics of one Frobenius sweep; those of several blocks add up.

    Attributes
    ----------
    numerator : (k, E) float64, AᵀX after the update; (k, 0) without spectra statistics
    gram : (k, k) float64, AᵀA after the update, likewise
    cross : <X, A S> before the update
    quadratic : |A S|² before the update
    square : |X|²
    """

    numerator: np.ndarray
    gram: np.ndarray
    cross: float
    quadratic: float
    square: float

    def __add__(self, other: FroSweep) -> FroSweep:
        return FroSweep(
            self.numerator + other.numerator,
            self.gram + other.gram,
            self.cross + other.cross,
            self.quadratic + other.quadratic,
            self.square + other.square,
        )

    @property
    def loss_entry(self) -> float:
        """½ |X - A S|² before the update."""
        return 0.5 * (self.square - 2.0 * self.cross + self.quadratic)


@dataclass(frozen=True)
class CheckedFactors:
    """Checked factors, and the rules of an update.

    Attributes
    ----------
    rules : how abundances change, by phase
    spectra : (k, E), entries above zero raised to the least
    """

    phases: int
    dtype: np.dtype
    rules: UpdateRules
    spectra: np.ndarray


def least_of(dtype: np.dtype) -> float:
    """Return the least fraction of a phase's spectrum, and its least counts in a pixel, that are not zero.

    The product of two smaller numbers is not a normal number, and a processor takes ten times as long for it.
    Updates make entries that tend to zero smaller and smaller, without end; from this value they can come
    back.

    Examples
    --------
    >>> least_of(np.dtype(np.float32))
    1.0842021724855044e-19
    """
    return math.sqrt(np.finfo(dtype).tiny)


def check_factors(
    pixels: int,
    channels: int,
    abundance: np.ndarray,
    spectra: np.ndarray,
    *,
    inner: int,
    frozen: np.ndarray | None,
) -> CheckedFactors:
    """Refuse what the kernels cannot use, since they check nothing themselves."""
    if abundance.dtype not in (np.float32, np.float64) or not abundance.flags.c_contiguous:
        seen = f"{abundance.dtype} array, C-contiguous: {abundance.flags.c_contiguous}"
        raise ParameterError(
            "abundance", seen, "a C-contiguous float32 or float64 array", "np.ascontiguousarray(...)"
        )
    if not abundance.flags.writeable:
        raise ParameterError("abundance", "a read-only array", "one that can be updated", "abundance.copy()")
    if spectra.dtype != abundance.dtype:
        raise ParameterError("spectra", str(spectra.dtype), f"the abundance's dtype {abundance.dtype}")
    phases = spectra.shape[0]
    check_width("spectra", phases)
    if spectra.shape != (phases, channels):
        raise ParameterError("spectra", spectra.shape, f"shape (phases, {channels})")
    if abundance.shape != (pixels, phases):
        raise ParameterError("abundance", abundance.shape, f"shape ({pixels}, {phases}), pixels first")
    if inner < 1:
        raise ParameterError("inner", inner, "at least one abundance update")
    sums = spectra.sum(axis=1, dtype=np.float64)
    rate = 1.0 / np.where(sums == 0, EPSILON, sums)
    keep = np.zeros(phases) if frozen is None else np.asarray(frozen, dtype=bool).astype(np.float64)
    if keep.shape != (phases,):
        raise ParameterError("frozen", keep.shape, f"one flag for each of {phases} phases")
    least = least_of(abundance.dtype)
    rules = UpdateRules((1 - keep) * rate, keep, (1 - keep) * rate * least)
    lifted = np.maximum(spectra, (least * sums).astype(spectra.dtype)[:, None])
    return CheckedFactors(phases, abundance.dtype, rules, lifted * (spectra > 0))


def check_width(name: str, width: int) -> None:
    """Refuse more phases or columns than the kernels support."""
    if not 1 <= width <= MAX_PHASES:
        raise ParameterError(name, width, f"1 to {MAX_PHASES} rows, one per phase")
