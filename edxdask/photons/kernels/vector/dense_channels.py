"""Work on channels that are held dense: sixteen pixels side by side, and no index.

Half of a spectrum image's non-zeros are in the few channels of its strong lines, where most pixels have
counts. There the counts of sixteen pixels are one vector. Two orders of the loops: ``gains`` runs along the
channels of one group of pixels, and its sums stay in registers; ``spread`` runs along the groups of one
channel, and its sums stay there.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from edxdask.photons.kernels.arrangement import LANES
from edxdask.photons.kernels.vector.lanes import Frame, Gains, fields
from edxdask.photons.kernels.vector.registers import _data, _fold, _splat, _store_row, _widened


class _Dense(Frame):
    """Access to counts of channels that are held dense."""

    def __init__(self, context, builder, phases, arrays):
        super().__init__(context, builder, phases, arrays)
        kind, dense = arrays["dense"]
        shape = context.data_model_manager[kind].get(builder, dense, "shape")
        self.groups, self.channels, _ = cgutils.unpack_tuple(builder, shape)

    def rows(self, name, group):
        """One vector per phase, of a group."""
        start = self.builder.mul(group, self.place(self.phases))
        return [self.row(name, self.builder.add(start, self.place(c))) for c in range(self.phases)]

    def splats(self, name, channel, columns):
        """Each number of a channel's row of a table, in every lane."""
        b = self.builder
        data = _data(self.context, b, *self.arrays[name])
        start = b.mul(channel, self.place(columns))
        places = [b.add(start, self.place(c)) for c in range(columns)]
        pointers = [b.gep(data, [place], source_etype=self.element) for place in places]
        return [_splat(b, b.load(p, typ=self.element), LANES) for p in pointers]

    def store_rows(self, name, group, vectors):
        """Write vectors to the rows of a group."""
        b = self.builder
        start = b.mul(group, self.place(len(vectors)))
        for c, vector in enumerate(vectors):
            _store_row(self.context, b, *self.arrays[name], b.add(start, self.place(c)), vector)


def _gains(ratios, logs):
    """Sum of ``ratio * table`` over the channels of a group of pixels, into rows of ``gains``.

    The factor is the count itself where not ``ratios``. With ``logs`` also Σ count · log(fit), into
    ``log_sums``. ``curve`` is as long as the rows of ``curve_table``; its Σ ratio / fit · row goes to
    ``curve_gains``; if it is empty, this is left out. ``model`` and ``sums`` are ``Model`` and ``Sums`` of
    ``scratch``; their abundances and gains have sixteen pixels side by side.
    """

    def typed(typingctx, like, curve, group, dense, model, sums):
        def codegen(context, builder, signature, args):
            _, _, group, dense, model, sums = zip(signature.args, args, strict=True)
            arrays = {**fields(builder, model, sums), "dense": dense}
            frame = _Dense(context, builder, like.count, arrays)
            group = frame.index(*group)
            first = builder.mul(group, frame.channels)
            gains = Gains(frame, ratios, logs, curve.count)
            gains.add_all(
                frame.place(0),
                frame.channels,
                frame.rows("amounts", group) if ratios else [],
                lambda channel: (
                    frame.counts("dense", builder.add(first, channel)),
                    frame.splats("table", channel, like.count),
                    frame.splats("curve_table", channel, curve.count),
                ),
            )
            frame.store_rows("gains", group, gains.found(gains.sums))
            frame.store_rows("curve_gains", group, gains.found(gains.curve_sums))
            gains.store_logs()
            return context.get_dummy_value()

        return types.void(like, curve, group, dense, model, sums), codegen

    return intrinsic(typed)


def _spread(ratios):
    """Add Σ ``ratio * amounts`` over all pixels of ``dense`` to a channel's row of ``numerator``.

    Lanes are added up in the precision of ``table``, and their sums in double. The factor is the count itself
    where not ``ratios``.
    """

    def typed(typingctx, like, channel, dense, model, numerator):
        def codegen(context, builder, signature, args):
            _, channel, dense, model, numerator = zip(signature.args, args, strict=True)
            arrays = {**fields(builder, model), "dense": dense}
            frame = _Dense(context, builder, like.count, arrays)
            channel = frame.index(*channel)
            spectra = frame.splats("table", channel, like.count) if ratios else []
            sums = [frame.variable(frame.vector) for _ in range(like.count)]
            with cgutils.for_range(builder, frame.groups) as loop:
                row = builder.add(builder.mul(loop.index, frame.channels), channel)
                factor, amounts = frame.counts("dense", row), frame.rows("amounts", loop.index)
                if ratios:
                    factor, _ = frame.ratio(factor, amounts, spectra)
                frame.add_products(sums, factor, amounts)
            double = ir.DoubleType()
            data = _data(context, builder, *numerator)
            start = builder.mul(channel, frame.place(like.count))
            for c, total in enumerate(sums):
                found = _fold(builder, _widened(builder, builder.load(total, typ=frame.vector)), 1)
                found = builder.extract_element(found, ir.Constant(ir.IntType(32), 0))
                pointer = builder.gep(data, [builder.add(start, frame.place(c))], source_etype=double)
                builder.store(builder.fadd(builder.load(pointer, typ=double), found), pointer)
            return context.get_dummy_value()

        return types.void(like, channel, dense, model, numerator), codegen

    return intrinsic(typed)


ratio_gains = _gains(ratios=True, logs=False)
ratio_gains_and_logs = _gains(ratios=True, logs=True)
count_gains = _gains(ratios=False, logs=False)
spread_ratios = _spread(ratios=True)
spread_counts = _spread(ratios=False)
