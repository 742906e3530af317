"""Photons in strips: sixteen pixels' lists side by side, one photon of each a step.

The rows of sixteen photons' channels are loaded and turned, so that a lane has its own numbers: what follows
is the same as for channels held dense. A strip belongs to a pixel, its ``owner``; a pixel may have several,
so that a few bright ones do not make the others wait.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from edxdask.photons.kernels.lanes import LANES, Frame, Gains
from edxdask.photons.kernels.vector import (
    FAST,
    _data,
    _load_from,
    _load_row,
    _mask,
    _mul_add,
    _splat,
    _store_row,
    _store_to,
    _widened,
)

PLACES = ir.VectorType(ir.IntType(32), LANES)
ROW = 4  # numbers that are turned at once; rows are multiples of it


def _four_by_four(inner, outer):
    """Mask for two vectors, the same within each four lanes; ``inner`` runs fastest."""
    return _mask([row + i + o for row in range(0, LANES, ROW) for o in outer for i in inner])


NEXT = (0, LANES)  # a lane of either vector
LOW, HIGH = _four_by_four(NEXT, (0, 1)), _four_by_four(NEXT, (2, 3))
FRONT, BACK = _four_by_four((0, 1), NEXT), _four_by_four((2, 3), NEXT)


def _turned(builder, vectors):
    """Turn four vectors: lane ``ROW * i + j`` of the c-th is lane ``ROW * i + c`` of the j-th."""
    pairs = [
        [builder.shuffle_vector(*two, places) for two in (vectors[:2], vectors[2:])] for places in (LOW, HIGH)
    ]
    return [builder.shuffle_vector(*pair, places) for pair in pairs for places in (FRONT, BACK)]


def _joined(builder, vectors):
    """One vector of all lanes of several."""
    while len(vectors) > 1:
        lanes = _mask(range(2 * vectors[0].type.count))
        vectors = [
            builder.shuffle_vector(left, right, lanes)
            for left, right in zip(vectors[::2], vectors[1::2], strict=True)
        ]
    return vectors[0]


class _Rows(Frame):
    """Access to tables whose rows are multiples of four long; a row is named by where it begins."""

    def starts(self, rows, columns):
        length = self.place(-(-columns // ROW) * ROW)
        return [self.builder.mul(row, length) for row in rows]

    def four(self, name, start, column):
        """Place of four numbers of a row, and these."""
        place = self.builder.add(start, self.place(column))
        return place, _load_from(self.context, self.builder, *self.arrays[name], place, ROW)

    def columns(self, name, starts, columns):
        """One vector per column, with a lane for each row."""
        found = []
        for c in range(0, columns, ROW):
            parts = [self.four(name, start, c)[1] for start in starts]
            turned = _turned(self.builder, [_joined(self.builder, parts[j::ROW]) for j in range(ROW)])
            found += turned[: columns - c]
        return found

    def write_rows(self, name, starts, vectors, change=lambda _, more: more):
        """Write each lane's numbers to a row, as ``change`` makes them of what is there and these."""
        b = self.builder
        for c in range(0, len(vectors), ROW):
            some = vectors[c : c + ROW]
            some += [ir.Constant(self.vector, None)] * (ROW - len(some))
            turned = _turned(b, some)
            for lane, start in enumerate(starts):
                i, j = divmod(lane, ROW)
                more = b.shuffle_vector(turned[j], turned[j], _mask(range(ROW * i, ROW * i + ROW)))
                place, before = self.four(name, start, c)
                _store_to(self.context, b, *self.arrays[name], place, change(before, more))

    def add_to_rows(self, name, starts, vectors):
        """Add each lane's numbers to a row."""
        self.write_rows(
            name, starts, vectors, lambda before, more: self.builder.fadd(before, more, flags=FAST)
        )


class _Strips(_Rows):
    """Access to the photons of one group of strips.

    Kernels are given where the rows of channels begin (``place``, ``curve_place``): to multiply each channel
    once more would take as long as what is done with the row.
    """

    def __init__(self, context, builder, phases, arrays, group):
        super().__init__(context, builder, phases, arrays)
        group = self.index(*group)
        self.first = self.number("steps", group)
        self.size = builder.sub(self.number("steps", builder.add(group, self.place(1))), self.first)
        self.owners = self.starts(self.places("owner", group), phases)

    def places(self, name, row):
        """Sixteen whole numbers."""
        start = self.builder.mul(row, self.place(LANES))
        return [self.number(name, self.builder.add(start, self.place(t))) for t in range(LANES)]

    def kept_rows(self, step):
        """Rows of ``shapes`` that are a step's: from ``kept`` on, ``apart`` from those of the next."""
        kept, apart = (self.index(*self.arrays[name]) for name in ("kept", "apart"))
        first = self.builder.add(kept, self.builder.mul(step, apart))
        return [self.builder.add(first, self.place(c)) for c in range(self.phases)]

    def shapes(self, step, keep):
        """Rows of ``table`` of a step's photons, one vector per phase; kept in ``shapes`` where ``keep``."""
        found = self.columns("table", self.places("place", step), self.phases)
        for row, vector in zip(self.kept_rows(step), found, strict=True) if keep else ():
            _store_row(self.context, self.builder, *self.arrays["shapes"], row, vector)
        return found

    def step_counts(self, step, kind=None):
        return self.counts("count", self.builder.add(self.first, step), kind)


def _turn(back):
    """Copy a group of pixels from rows of ``table`` to lanes of ``across``, or ``back``."""

    def typed(typingctx, like, group, table, across):
        def codegen(context, builder, signature, args):
            arrays = dict(
                zip(("table", "across"), zip(signature.args[2:], args[2:], strict=True), strict=True)
            )
            frame = _Rows(context, builder, like.count, arrays)
            group = frame.index(signature.args[1], args[1])
            first = builder.mul(group, frame.place(LANES))
            pixels = frame.starts([builder.add(first, frame.place(t)) for t in range(LANES)], like.count)
            first = builder.mul(group, frame.place(like.count))
            rows = [builder.add(first, frame.place(c)) for c in range(like.count)]
            if back:
                frame.write_rows("table", pixels, [frame.row("across", row) for row in rows])
            else:
                for row, vector in zip(rows, frame.columns("table", pixels, like.count), strict=True):
                    _store_row(context, builder, *arrays["across"], row, vector)
            return context.get_dummy_value()

        return types.void(like, group, table, across), codegen

    return intrinsic(typed)


turn, turn_back = _turn(back=False), _turn(back=True)


@intrinsic
def find_places(typingctx, channel, row, length, place, at):
    """Write the products of a row of channels and ``length`` to row ``at`` of ``place``."""

    def codegen(context, builder, signature, args):
        channel, row, length, place, at = zip(signature.args, args, strict=True)
        row, at = (context.cast(builder, value, kind, types.intp) for kind, value in (row, at))
        found = builder.zext(_load_row(context, builder, *channel, row, LANES), PLACES)
        times = context.cast(builder, length[1], length[0], types.uint32)
        _store_row(context, builder, *place, at, builder.mul(found, _splat(builder, times, LANES)))
        return context.get_dummy_value()

    return types.void(channel, row, length, place, at), codegen


def _gains(ratios, logs):
    """Add Σ ``ratio * table`` over a group's photons to the rows of ``added`` of their owners.

    As ``full``'s: of counts where not ``ratios``; with ``logs`` Σ count · log(fit), into ``log_sums``;
    Σ ratio / fit · row of ``curve_table`` to ``curve_added``, where ``curve`` is not empty. Else the
    rows of ``table`` are kept for ``strip_ratios``: they take longer to find than all that is done with them.
    """

    def typed(
        typingctx, like, curve, group, steps, owner, place, curve_place, count, table, curve_table, tile,
        floor, added, curve_added, log_sums, shapes, kept, apart,
    ):  # fmt: skip
        names = (
            "steps", "owner", "place", "curve_place", "count", "table", "curve_table", "tile", "floor",
            "added", "curve_added", "log_sums", "shapes", "kept", "apart",
        )  # fmt: skip

        def codegen(context, builder, signature, args):
            arrays = dict(zip(names, zip(signature.args[3:], args[3:], strict=True), strict=True))
            frame = _Strips(context, builder, like.count, arrays, (signature.args[2], args[2]))
            curves = _Strips(context, builder, curve.count, arrays, (signature.args[2], args[2]))
            gains = Gains(frame, ratios, logs, curve.count)

            def take(step):
                shapes = frame.shapes(step, keep=ratios and not curve.count)
                rows = frame.places("curve_place", step) if curve.count else []
                return frame.step_counts(step), shapes, frame.columns("curve_table", rows, curve.count)

            amounts = frame.columns("tile", frame.owners, like.count) if ratios else []
            gains.add_all(frame.place(0), frame.size, amounts, take)
            frame.add_to_rows("added", frame.owners, gains.found(gains.sums))
            frame.add_to_rows("curve_added", curves.owners, gains.found(gains.curve_sums))
            gains.store_logs()
            return context.get_dummy_value()

        arguments = (
            like, curve, group, steps, owner, place, curve_place, count, table, curve_table, tile, floor,
            added, curve_added, log_sums, shapes, kept, apart,
        )  # fmt: skip
        return types.void(*arguments), codegen

    return intrinsic(typed)


strip_ratio_gains = _gains(ratios=True, logs=False)
strip_ratio_gains_and_logs = _gains(ratios=True, logs=True)
strip_count_gains = _gains(ratios=False, logs=False)


@intrinsic
def keep_shapes(typingctx, like, group, steps, owner, place, table, shapes, kept, apart):
    """Write the rows of ``table`` of a group's photons to ``shapes``, as sums of ratios do."""

    def codegen(context, builder, signature, args):
        names = ("steps", "owner", "place", "table", "shapes", "kept", "apart")
        arrays = dict(zip(names, zip(signature.args[2:], args[2:], strict=True), strict=True))
        frame = _Strips(context, builder, like.count, arrays, (signature.args[1], args[1]))
        with cgutils.for_range(builder, frame.size) as loop:
            frame.shapes(loop.index, keep=True)
        return context.get_dummy_value()

    return types.void(like, group, steps, owner, place, table, shapes, kept, apart), codegen


def _weights(ratios):
    """Write ratios, or counts, of a group's photons to the rows of ``weight``, in double precision."""

    def typed(typingctx, like, group, steps, owner, count, table, tile, floor, weight, shapes, kept, apart):
        names = ("steps", "owner", "count", "table", "tile", "floor", "weight", "shapes", "kept", "apart")

        def codegen(context, builder, signature, args):
            arrays = dict(zip(names, zip(signature.args[2:], args[2:], strict=True), strict=True))
            frame = _Strips(context, builder, like.count, arrays, (signature.args[1], args[1]))
            amounts = frame.columns("tile", frame.owners, like.count) if ratios else []
            with cgutils.for_range(builder, frame.size) as loop:
                found = frame.step_counts(loop.index, None if ratios else frame.wide)
                if ratios:
                    shapes = [frame.row("shapes", row) for row in frame.kept_rows(loop.index)]
                    found = _widened(builder, frame.ratio(found, amounts, shapes)[0])
                _store_row(context, builder, *arrays["weight"], loop.index, found)
            return context.get_dummy_value()

        arguments = (like, group, steps, owner, count, table, tile, floor, weight, shapes, kept, apart)
        return types.void(*arguments), codegen

    return intrinsic(typed)


strip_ratios, strip_counts = _weights(ratios=True), _weights(ratios=False)


@intrinsic
def strip_spread(typingctx, like, group, steps, owner, place, weight, table, numerator):
    """Add ``weight`` of a group's photons times their owners' rows of ``table`` to rows of ``numerator``.

    All in double precision, so that it makes no difference which photons share a group. In a loop of its own,
    where all that is read again and again stays in registers.
    """
    names = ("steps", "owner", "place", "weight", "table", "numerator")

    def codegen(context, builder, signature, args):
        arrays = dict(zip(names, zip(signature.args[2:], args[2:], strict=True), strict=True))
        frame = _Strips(context, builder, like.count, arrays, (signature.args[1], args[1]))
        kind, weights = arrays["weight"]
        weights = _data(context, builder, kind, weights)
        for c in range(0, like.count, ROW):
            own = [frame.four("table", owner, c)[1] for owner in frame.owners]
            with cgutils.for_range(builder, frame.size) as loop:
                first = builder.mul(loop.index, frame.place(LANES))
                for lane, (start, vector) in enumerate(
                    zip(frame.places("place", loop.index), own, strict=True)
                ):
                    at = builder.gep(
                        weights, [builder.add(first, frame.place(lane))], source_etype=frame.element
                    )
                    each = _splat(builder, builder.load(at, typ=frame.element), ROW)
                    spot, before = frame.four("numerator", start, c)
                    after = _mul_add(builder, each, vector, before)
                    _store_to(context, builder, *arrays["numerator"], spot, after)
        return context.get_dummy_value()

    return types.void(like, group, steps, owner, place, weight, table, numerator), codegen
