"""Photons in strips: sixteen pixels' lists side by side, one photon of each per step.

The rows of sixteen photons' channels are loaded and transposed, so that a lane has its own numbers: the rest
is the same as for channels held dense. A strip belongs to a pixel, its ``owner``; a pixel may have several,
so that a few bright ones do not slow down the others.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from edxdask.photons.kernels.arrangement import LANES
from edxdask.photons.kernels.vector.lanes import Frame, Gains, fields
from edxdask.photons.kernels.vector.registers import (
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
ROW = 4  # numbers that are transposed at once; rows are multiples of it


def _four_by_four(inner, outer):
    """Mask for two vectors, the same within each four lanes; ``inner`` runs fastest."""
    return _mask([row + i + o for row in range(0, LANES, ROW) for o in outer for i in inner])


NEXT = (0, LANES)  # a lane of either vector
LOW, HIGH = _four_by_four(NEXT, (0, 1)), _four_by_four(NEXT, (2, 3))
FRONT, BACK = _four_by_four((0, 1), NEXT), _four_by_four((2, 3), NEXT)


def _turned(builder, vectors):
    """Transpose four vectors: lane ``ROW * i + j`` of the c-th is lane ``ROW * i + c`` of the j-th."""
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
    """Access to tables with rows a multiple of four long; a row is named by where it begins."""

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
        """Write each lane's numbers to a row; ``change`` computes them from the present numbers and these."""
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

    Kernels are given where the rows of channels begin (``place``, ``curve_place``): another multiplication
    per channel would take as long as the work on the row.
    """

    def __init__(self, context, builder, phases, arrays, group):
        super().__init__(context, builder, phases, arrays)
        group = self.index(*group)
        self.first = self.number("group_starts", group)
        self.size = builder.sub(self.number("group_starts", builder.add(group, self.place(1))), self.first)
        self.owners = self.starts(self.places("owner", group), phases)

    def places(self, name, row):
        """Sixteen whole numbers."""
        start = self.builder.mul(row, self.place(LANES))
        return [self.number(name, self.builder.add(start, self.place(t))) for t in range(LANES)]

    def kept_rows(self, row, kept, apart):
        """Rows of ``spectra_rows`` that are a row's: from ``kept`` on, ``apart`` from those of the next."""
        first = self.builder.add(self.index(*kept), self.builder.mul(row, self.index(*apart)))
        return [self.builder.add(first, self.place(c)) for c in range(self.phases)]

    def spectra(self, row, keep_at=()):
        """Rows of ``table`` of a row of photons, one vector per phase; kept where ``keep_at`` says."""
        found = self.columns("table", self.places("place", row), self.phases)
        for at, vector in zip(keep_at, found, strict=True) if keep_at else ():
            _store_row(self.context, self.builder, *self.arrays["spectra_rows"], at, vector)
        return found

    def row_counts(self, row, kind=None):
        return self.counts("counts", self.builder.add(self.first, row), kind)


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
    """Add Σ ``ratio * table`` over a group's photons to the rows of ``gains`` of their owners.

    As those of ``dense_channels``: of counts where not ``ratios``; with ``logs`` Σ count · log(fit), into
    ``log_sums``; Σ ratio / fit · row of ``curve_table`` to ``curve_gains``, where ``curve`` is not empty.
    Otherwise the rows of ``table`` are kept for ``strip_ratios``: finding them takes longer than the work
    on them. ``strips``, ``model`` and ``sums`` are ``Strips``, ``Model`` and ``Sums`` of ``scratch``.
    """

    def typed(typingctx, like, curve, group, strips, model, sums, kept, apart):
        def codegen(context, builder, signature, args):
            _, _, group, strips, model, sums, kept, apart = zip(signature.args, args, strict=True)
            arrays = fields(builder, strips, model, sums)
            frame = _Strips(context, builder, like.count, arrays, group)
            curves = _Strips(context, builder, curve.count, arrays, group)
            gains = Gains(frame, ratios, logs, curve.count)
            keeps = ratios and not curve.count

            def take(row):
                spectra = frame.spectra(row, frame.kept_rows(row, kept, apart) if keeps else ())
                rows = frame.places("curve_place", row) if curve.count else []
                return frame.row_counts(row), spectra, frame.columns("curve_table", rows, curve.count)

            amounts = frame.columns("amounts", frame.owners, like.count) if ratios else []
            gains.add_all(frame.place(0), frame.size, amounts, take)
            frame.add_to_rows("gains", frame.owners, gains.found(gains.sums))
            frame.add_to_rows("curve_gains", curves.owners, gains.found(gains.curve_sums))
            gains.store_logs()
            return context.get_dummy_value()

        return types.void(like, curve, group, strips, model, sums, kept, apart), codegen

    return intrinsic(typed)


strip_ratio_gains = _gains(ratios=True, logs=False)
strip_ratio_gains_and_logs = _gains(ratios=True, logs=True)
strip_count_gains = _gains(ratios=False, logs=False)


@intrinsic
def keep_spectra(typingctx, like, group, strips, model, kept, apart):
    """Write the rows of ``table`` of a group's photons to ``spectra_rows``, as sums of ratios do."""

    def codegen(context, builder, signature, args):
        _, group, strips, model, kept, apart = zip(signature.args, args, strict=True)
        frame = _Strips(context, builder, like.count, fields(builder, strips, model), group)
        with cgutils.for_range(builder, frame.size) as loop:
            frame.spectra(loop.index, frame.kept_rows(loop.index, kept, apart))
        return context.get_dummy_value()

    return types.void(like, group, strips, model, kept, apart), codegen


def _weights(ratios):
    """Write ratios, or counts, of a group's photons to the rows of ``weight``, in double precision."""

    def typed(typingctx, like, group, strips, model, kept, apart):
        def codegen(context, builder, signature, args):
            _, group, strips, model, kept, apart = zip(signature.args, args, strict=True)
            frame = _Strips(context, builder, like.count, fields(builder, strips, model), group)
            amounts = frame.columns("amounts", frame.owners, like.count) if ratios else []
            with cgutils.for_range(builder, frame.size) as loop:
                found = frame.row_counts(loop.index, None if ratios else frame.wide)
                if ratios:
                    rows = frame.kept_rows(loop.index, kept, apart)
                    spectra = [frame.row("spectra_rows", row) for row in rows]
                    found = _widened(builder, frame.ratio(found, amounts, spectra)[0])
                _store_row(context, builder, *frame.arrays["weight"], loop.index, found)
            return context.get_dummy_value()

        return types.void(like, group, strips, model, kept, apart), codegen

    return intrinsic(typed)


strip_ratios, strip_counts = _weights(ratios=True), _weights(ratios=False)


@intrinsic
def strip_spread(typingctx, like, group, strips, table, numerator):
    """Add ``weight`` of a group's photons times their owners' rows of ``table`` to rows of ``numerator``.

    All in double precision, so that it makes no difference which photons are in a group. In a separate loop,
    where everything that is read repeatedly stays in registers.
    """

    def codegen(context, builder, signature, args):
        _, group, strips, table, numerator = zip(signature.args, args, strict=True)
        arrays = {**fields(builder, strips), "table": table, "numerator": numerator}
        frame = _Strips(context, builder, like.count, arrays, group)
        weights = _data(context, builder, *arrays["weight"])
        for c in range(0, like.count, ROW):
            own = [frame.four("table", owner, c)[1] for owner in frame.owners]
            with cgutils.for_range(builder, frame.size) as loop:
                first = builder.mul(loop.index, frame.place(LANES))
                places = frame.places("place", loop.index)
                for lane, (start, vector) in enumerate(zip(places, own, strict=True)):
                    at = builder.gep(
                        weights, [builder.add(first, frame.place(lane))], source_etype=frame.element
                    )
                    each = _splat(builder, builder.load(at, typ=frame.element), ROW)
                    spot, before = frame.four("numerator", start, c)
                    after = _mul_add(builder, each, vector, before)
                    _store_to(context, builder, *arrays["numerator"], spot, after)
        return context.get_dummy_value()

    return types.void(like, group, strips, table, numerator), codegen
