"""Sixteen lanes side by side: what a sweep does with counts, however they are stored.

A lane is a pixel, or a strip of a pixel's photons. A fit, a division, a logarithm and the sums of an update
are then the same instructions for sixteen counts at once, and need no sum across a vector. Channels that are
held dense (``dense_channels``) and photons (``strips``) differ in where counts and spectra come from, and in
where the sums go to. Written as LLVM IR, since the number of vectors that must stay in registers is that of
the phases.
"""

from llvmlite import ir
from numba.core import cgutils, types

from edxdask.photons.kernels.arrangement import LANES
from edxdask.photons.kernels.vector.logarithms import log
from edxdask.photons.kernels.vector.registers import (
    FAST,
    _data,
    _load_row,
    _mul_add,
    _splat,
    _store_row,
    _widened,
)

QUICK = (*FAST, "afn", "arcp", "ninf")  # an estimate, refined: right to rounding, for fits that are finite
LOG_STEPS = 8  # terms that are added in single precision before their sum continues in double


def fields(builder, *tuples):
    """Numba type and value of each field of some named tuples, (type, value) each, by the field's name."""
    found = {}
    for kind, value in tuples:
        for place, (name, own) in enumerate(zip(kind.fields, kind, strict=True)):
            found[name] = (own, builder.extract_value(value, place))
    return found


class Frame:
    """Typed access to the arrays of a call, and sums that begin at zero.

    Attributes
    ----------
    phases : vectors that the sums over counts make
    arrays : (numba type, value) by name; ``table`` gives the precision, ``floor`` the least fit
    """

    def __init__(self, context, builder, phases, arrays):
        self.context, self.builder, self.phases, self.arrays = context, builder, phases, arrays
        self.element = context.get_data_type(arrays["table"][0].dtype)
        self.vector = ir.VectorType(self.element, LANES)
        self.wide = ir.VectorType(ir.DoubleType(), LANES)

    def place(self, number):
        """Return a whole number as a constant."""
        return ir.Constant(ir.IntType(64), number)

    def index(self, kind, value):
        """Return a whole number of any type as an index."""
        return self.context.cast(self.builder, value, kind, types.intp)

    def row(self, name, row):
        """Read one number for each lane."""
        return _load_row(self.context, self.builder, *self.arrays[name], row, LANES)

    def counts(self, name, row, kind=None):
        """Read counts as floating-point numbers."""
        return self.builder.uitofp(self.row(name, row), kind or self.vector)

    def number(self, name, place):
        """Read one number of an array of whole ones."""
        kind, value = self.arrays[name]
        element = self.context.get_data_type(kind.dtype)
        pointer = self.builder.gep(
            _data(self.context, self.builder, kind, value), [place], source_etype=element
        )
        found = self.builder.load(pointer, typ=element)
        return found if element == place.type else self.builder.zext(found, place.type)

    def variable(self, kind):
        """Variable of a vector type, zero at this point: within a loop, in every turn."""
        found = cgutils.alloca_once(self.builder, kind)
        self.builder.store(ir.Constant(kind, None), found)
        return found

    def add_products(self, sums, factor, vectors):
        """Add ``factor * vector`` to each sum."""
        b = self.builder
        for total, vector in zip(sums, vectors, strict=True):
            b.store(_mul_add(b, factor, vector, b.load(total, typ=vector.type)), total)

    def ratio(self, counts, amounts, spectra):
        """Return counts over modelled counts, and the latter, clamped from below."""
        b = self.builder
        fit = b.fmul(amounts[0], spectra[0], flags=FAST)
        for amount, own in zip(amounts[1:], spectra[1:], strict=True):
            fit = _mul_add(b, amount, own, fit)
        least = _splat(b, self.arrays["floor"][1], LANES)
        fit = b.select(b.fcmp_ordered(">", least, fit), least, fit)
        return b.fdiv(counts, fit, flags=QUICK), fit


class Gains:
    """Sums over the channels of sixteen lanes; they stay in registers.

    Attributes
    ----------
    sums : Σ ratio · spectrum, one vector per phase; of counts instead of ratios where not ``ratios``
    curve_sums : Σ ratio / fit · row of another table
    """

    def __init__(self, frame, ratios, logs, curve):
        self.frame, self.ratios, self.logs = frame, ratios, logs
        self.sums = [frame.variable(frame.vector) for _ in range(frame.phases)]
        self.curve_sums = [frame.variable(frame.vector) for _ in range(curve)]
        self.logarithms = [frame.variable(frame.wide) for _ in range(2)]  # of mantissas, and powers

    def add_all(self, first, last, amounts, take):
        """Add steps ``first`` to ``last``; ``take(step)`` is their counts, spectra, and rows of the curve."""
        frame, b = self.frame, self.frame.builder
        step = frame.place(LOG_STEPS)
        with cgutils.for_range_slice(b, first, last, step) as (begin, _):
            some = [frame.variable(frame.vector) for _ in range(2)]
            end = b.add(begin, step)
            end = b.select(b.icmp_signed("<", end, last), end, last)
            with cgutils.for_range_slice(b, begin, end, frame.place(1)) as (at, _):
                self._add(amounts, some, *take(at))
            for total, part in zip(self.logarithms, some, strict=True) if self.logs else ():
                more = _widened(b, b.load(part, typ=frame.vector))
                b.store(b.fadd(b.load(total, typ=frame.wide), more, flags=FAST), total)

    def _add(self, amounts, some, counts, spectra, curve_spectra):
        frame, factor = self.frame, counts
        if self.ratios:
            factor, fit = frame.ratio(counts, amounts, spectra)
        if self.logs:
            frame.add_products(some, counts, log(frame.builder, fit))
        frame.add_products(self.sums, factor, spectra)
        if self.curve_sums:
            curvature = frame.builder.fdiv(factor, fit, flags=QUICK)
            frame.add_products(self.curve_sums, curvature, curve_spectra)

    def found(self, sums):
        """Read sums at the end."""
        return [self.frame.builder.load(total, typ=self.frame.vector) for total in sums]

    def store_logs(self):
        """Add Σ count · log(fit) to the two rows of ``log_sums``: of mantissas, and powers of two."""
        frame, b = self.frame, self.frame.builder
        for row, total in enumerate(self.logarithms) if self.logs else ():
            after = b.fadd(frame.row("log_sums", frame.place(row)), b.load(total, typ=frame.wide))
            _store_row(frame.context, b, *frame.arrays["log_sums"], frame.place(row), after)
