"""One step further along the last one, by ratios: sixteen numbers at a time, in place."""

import math

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from edxdask.photons.kernels.arrangement import LANES
from edxdask.photons.kernels.jit import helper, kernel
from edxdask.photons.kernels.vector.logarithms import _all, log
from edxdask.photons.kernels.vector.registers import FAST, _mul_add, _splat, load, multiply, store

LIKE = (1,) * LANES
# 2 ** t = Σ (t log 2)ⁿ / n!, lowest first: between -1 and 1 to rounding
SERIES = {
    bits: [math.log(2.0) ** n / math.factorial(n) for n in range(terms)]
    for bits, terms in ((32, 10), (64, 18))
}


@intrinsic
def step_ratio(typingctx, now, before, momentum):
    """``(now / before) ** momentum`` between a half and two; 1 where ``before`` is zero."""

    def codegen(context, builder, signature, args):
        now, before, momentum = args
        kind = now.type
        ratio = builder.fdiv(now, before)
        known = builder.fcmp_ordered(">", before, _all(kind, 0.0))
        mantissa, power = log(builder, builder.select(known, ratio, _all(kind, 1.0)))
        binary = _mul_add(builder, mantissa, _all(kind, 1 / math.log(2.0)), power)
        wanted = builder.fmul(binary, _splat(builder, momentum, kind.count), flags=FAST)
        for limit, beyond in ((-1.0, "<"), (1.0, ">")):
            over = builder.fcmp_ordered(beyond, wanted, _all(kind, limit))
            wanted = builder.select(over, _all(kind, limit), wanted)
        *lower, total = SERIES[32 if isinstance(kind.element, ir.FloatType) else 64]
        total = _all(kind, total)
        for coefficient in reversed(lower):
            total = _mul_add(builder, total, wanted, _all(kind, coefficient))
        return total

    return now(now, before, momentum), codegen


@helper
def _move(now, before, rows, momentum):
    for row in range(rows):
        value = load(LIKE, now, row)
        moved = multiply(value, step_ratio(value, load(LIKE, before, row), momentum))
        store(before, row, value)
        store(now, row, moved)


@kernel
def _extrapolate(now, before, momentum, rest):
    rows = now.size // LANES
    _move(now, before, rows, momentum)
    whole = rows * LANES
    for i in range(now.size - whole):
        rest[0, i] = now[whole + i]
        rest[1, i] = before[whole + i]
    _move(rest[0], rest[1], 1, momentum)
    for i in range(now.size - whole):
        now[whole + i] = rest[0, i]
        before[whole + i] = rest[1, i]


def extrapolate(now, before, momentum):
    """See ``contract.Kernels``."""
    _extrapolate(now, before, now.dtype.type(momentum), np.zeros((2, LANES), now.dtype))
