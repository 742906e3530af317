"""Logarithms of vectors, from additions, multiplications and shifts only."""

import math

import numpy as np
from llvmlite import ir

from edxdask.photons.kernels.vector.registers import FAST, _mul_add

LEAST_MANTISSA = math.sqrt(0.5)


def _log_series(terms):
    """Coefficients of log(1 + t) / t between mantissas √½ and √2, lowest first."""

    def quotient(t):
        return np.where(np.abs(t) < 1e-9, 1 - t / 2, np.log1p(t) / np.where(t == 0, 1, t))

    domain = [LEAST_MANTISSA - 1, 1 / LEAST_MANTISSA - 1]
    series = np.polynomial.Chebyshev.interpolate(quotient, terms - 1, domain=domain)
    return series.convert(kind=np.polynomial.Polynomial).coef.tolist()


SERIES = {32: _log_series(9), 64: _log_series(20)}  # both to rounding


def _all(vector, value):
    return ir.Constant(vector, [value] * vector.count)


def log(builder, values):
    """Logarithm of positive, normal numbers: (natural one of a mantissa between √½ and √2, power of two)."""
    bits, mantissa = (32, 23) if isinstance(values.type.element, ir.FloatType) else (64, 52)
    whole = ir.VectorType(ir.IntType(bits), values.type.count)
    least = np.array(LEAST_MANTISSA, f"f{bits // 8}").view(f"i{bits // 8}").item()
    places = builder.bitcast(values, whole)
    power = builder.ashr(builder.sub(places, _all(whole, least)), _all(whole, mantissa))
    places = builder.sub(places, builder.shl(power, _all(whole, mantissa)))
    t = builder.fsub(builder.bitcast(places, values.type), _all(values.type, 1.0), flags=FAST)
    *lower, total = SERIES[bits]
    total = _all(values.type, total)
    for coefficient in reversed(lower):
        total = _mul_add(builder, total, t, _all(values.type, coefficient))
    return builder.fmul(total, t, flags=FAST), builder.sitofp(power, values.type)
