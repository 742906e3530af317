"""Work on channels that are held dense: sixteen pixels side by side, no index and no horizontal sum.

Half of a spectrum image's non-zeros lie in the few channels of its strong lines, where most pixels have
counts. There the counts of sixteen pixels are one vector: a fit, a division, a logarithm and the sums of an
update cost a quarter of what they cost a photon (k = 3, single precision: 0.7 ns an entry and iteration).

Two orders of the loops. ``gains`` runs along the channels of one group of pixels, whose sums stay in
registers; ``spread`` runs along the groups of one channel, whose sums stay there. Both are written as LLVM
IR, since the number of vectors that must stay is that of the phases.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from edxdask.photons.kernels.logs import log
from edxdask.photons.kernels.vector import (
    FAST,
    _data,
    _fold,
    _load_row,
    _mul_add,
    _splat,
    _store_row,
    _widened,
)

LANES = 16
QUICK = ("afn", "arcp")
LOG_CHANNELS = 8  # terms that are added in single precision before their sum goes on in double


class _Frame:
    """What the bodies of both loops need: typed access to the arrays of a call."""

    def __init__(self, context, builder, phases, arrays):
        self.context, self.builder, self.phases, self.arrays = context, builder, phases, arrays
        self.element = context.get_data_type(arrays["table"][0].dtype)
        self.vector = ir.VectorType(self.element, LANES)
        self.wide = ir.VectorType(ir.DoubleType(), LANES)
        kind, dense = arrays["dense"]
        shape = context.make_array(kind)(context, builder, dense).shape
        self.groups, self.channels, _ = cgutils.unpack_tuple(builder, shape)

    def place(self, number):
        return ir.Constant(ir.IntType(64), number)

    def rows(self, name, start):
        """One vector a phase from row ``start`` of an array on."""
        b = self.builder
        places = [b.add(start, self.place(c)) for c in range(self.phases)]
        return [_load_row(self.context, b, *self.arrays[name], at, LANES) for at in places]

    def counts(self, row):
        loaded = _load_row(self.context, self.builder, *self.arrays["dense"], row, LANES)
        return self.builder.uitofp(loaded, self.vector)

    def splats(self, name, channel, columns):
        """Each number of a channel's row of a table, in every lane."""
        b = self.builder
        data = _data(self.context, b, *self.arrays[name])
        start = b.mul(channel, self.place(columns))
        places = [b.add(start, self.place(c)) for c in range(columns)]
        pointers = [b.gep(data, [place], source_etype=self.element) for place in places]
        return [_splat(b, b.load(p, typ=self.element), LANES) for p in pointers]

    def sums(self, kind, number=None):
        """Variables that begin at zero, one a phase; LLVM keeps them in registers."""
        return [self.variable(kind) for _ in range(self.phases if number is None else number)]

    def store_rows(self, name, group, sums):
        """Write sums to the rows of a group."""
        b = self.builder
        start = b.mul(group, self.place(len(sums)))
        for c, total in enumerate(sums):
            found = b.load(total, typ=self.vector)
            _store_row(self.context, b, *self.arrays[name], b.add(start, self.place(c)), found)

    def variable(self, kind):
        """Variable of a vector type, zero from here on: within a loop, in every turn."""
        found = cgutils.alloca_once(self.builder, kind)
        self.builder.store(ir.Constant(kind, None), found)
        return found

    def add_products(self, sums, factor, vectors):
        """Add ``factor * vector`` to each sum."""
        b = self.builder
        for total, vector in zip(sums, vectors, strict=True):
            b.store(_mul_add(b, factor, vector, b.load(total, typ=vector.type)), total)

    def fit(self, amounts, shapes):
        """Modelled counts, clamped from below."""
        b = self.builder
        total = b.fmul(amounts[0], shapes[0], flags=FAST)
        for amount, shape in zip(amounts[1:], shapes[1:], strict=True):
            total = _mul_add(b, amount, shape, total)
        least = _splat(b, self.arrays["floor"][1], LANES)
        return b.select(b.fcmp_ordered(">", least, total), least, total)


def _gains(ratios, logs):
    """Sum of ``ratio * table`` over the channels of a group of pixels, into rows of ``gain``.

    The factor is the count itself where not ``ratios``. With ``logs`` also Σ count · log(fit), into the
    lanes of ``log_sums``: of the fits' mantissas, and their powers of two. ``curve`` is as long as the rows
    of ``curve_table``, whose Σ ratio / fit · row goes to ``curve_gain``; where it is empty nothing is done.
    """

    def typed(
        typingctx, like, curve, group, dense, table, curve_table, tile, floor, gain, curve_gain, log_sums
    ):
        def codegen(context, builder, signature, args):
            kinds = signature.args
            names = ("dense", "table", "curve_table", "tile", "floor", "gain", "curve_gain", "log_sums")
            arrays = dict(zip(names, zip(kinds[3:], args[3:], strict=True), strict=True))
            frame = _Frame(context, builder, like.count, arrays)
            group = context.cast(builder, args[2], kinds[2], types.intp)
            channels = frame.channels
            amounts = frame.rows("tile", builder.mul(group, frame.place(like.count))) if ratios else []
            sums, curve_sums = frame.sums(frame.vector), frame.sums(frame.vector, curve.count)
            logarithms = frame.sums(frame.wide, 2)  # of mantissas, and powers
            first = builder.mul(group, channels)
            step, zero = frame.place(LOG_CHANNELS), frame.place(0)
            with cgutils.for_range_slice(builder, zero, channels, step) as (begin, _):
                some = frame.sums(frame.vector, 2)
                end = builder.add(begin, step)
                end = builder.select(builder.icmp_signed("<", end, channels), end, channels)
                with cgutils.for_range_slice(builder, begin, end, frame.place(1)) as (channel, _):
                    factor = count = frame.counts(builder.add(first, channel))
                    shapes = frame.splats("table", channel, like.count)
                    if ratios:
                        fit = frame.fit(amounts, shapes)
                        factor = builder.fdiv(count, fit, flags=QUICK)
                    if logs:
                        frame.add_products(some, count, log(builder, fit))
                    frame.add_products(sums, factor, shapes)
                    if curve.count:
                        curvature = builder.fdiv(factor, fit, flags=QUICK)
                        shapes = frame.splats("curve_table", channel, curve.count)
                        frame.add_products(curve_sums, curvature, shapes)
                for total, part in zip(logarithms, some, strict=True) if logs else ():
                    more = _widened(builder, builder.load(part, typ=frame.vector))
                    builder.store(builder.fadd(builder.load(total, typ=frame.wide), more, flags=FAST), total)
            frame.store_rows("gain", group, sums)
            frame.store_rows("curve_gain", group, curve_sums)
            for row, total in enumerate(logarithms) if logs else ():
                before = _load_row(context, builder, *arrays["log_sums"], frame.place(row), LANES)
                after = builder.fadd(before, builder.load(total, typ=frame.wide))
                _store_row(context, builder, *arrays["log_sums"], frame.place(row), after)
            return context.get_dummy_value()

        arguments = (like, curve, group, dense, table, curve_table, tile, floor, gain, curve_gain, log_sums)
        return types.void(*arguments), codegen

    return intrinsic(typed)


def _spread(ratios):
    """Add Σ ``ratio * tile`` over all pixels of ``dense`` to a channel's row of ``numerator``.

    In double precision, so that it makes no difference which pixels share a tile; ``wide`` is ``tile`` in
    that. The factor is the count itself where not ``ratios``.
    """

    def typed(typingctx, like, channel, dense, table, tile, wide, floor, numerator):
        def codegen(context, builder, signature, args):
            kinds = signature.args
            names = ("dense", "table", "tile", "wide", "floor", "numerator")
            arrays = dict(zip(names, zip(kinds[2:], args[2:], strict=True), strict=True))
            frame = _Frame(context, builder, like.count, arrays)
            channel = context.cast(builder, args[1], kinds[1], types.intp)
            shapes = frame.splats("table", channel, like.count) if ratios else []
            sums = frame.sums(frame.wide)
            with cgutils.for_range(builder, frame.groups) as loop:
                row = builder.add(builder.mul(loop.index, frame.channels), channel)
                factor = frame.counts(row)
                own = builder.mul(loop.index, frame.place(like.count))
                if ratios:
                    factor = builder.fdiv(factor, frame.fit(frame.rows("tile", own), shapes), flags=QUICK)
                frame.add_products(sums, _widened(builder, factor), frame.rows("wide", own))
            double = ir.DoubleType()
            data = _data(context, builder, *arrays["numerator"])
            start = builder.mul(channel, frame.place(like.count))
            for c, total in enumerate(sums):
                found = _fold(builder, builder.load(total, typ=frame.wide), 1)
                found = builder.extract_element(found, ir.Constant(ir.IntType(32), 0))
                pointer = builder.gep(data, [builder.add(start, frame.place(c))], source_etype=double)
                builder.store(builder.fadd(builder.load(pointer, typ=double), found), pointer)
            return context.get_dummy_value()

        return types.void(like, channel, dense, table, tile, wide, floor, numerator), codegen

    return intrinsic(typed)


ratio_gains = _gains(ratios=True, logs=False)
ratio_gains_and_logs = _gains(ratios=True, logs=True)
count_gains = _gains(ratios=False, logs=False)
spread_ratios = _spread(ratios=True)
spread_counts = _spread(ratios=False)
