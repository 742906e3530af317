"""Four photons of one pixel at a time: what a sweep does with them, in short vectors."""

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from edxdask.photons.kernels.vector import (
    FAST,
    Vec,
    _data,
    _fold,
    _load_from,
    _load_row,
    _mask,
    _splat,
    _store_row,
    _store_to,
    _widened,
)


def _pair_sums(builder, left, right):
    """Return sums of neighbouring lanes of ``left``, then of ``right``."""
    lanes = left.type.count
    even = builder.shuffle_vector(left, right, _mask(range(0, 2 * lanes, 2)))
    odd = builder.shuffle_vector(left, right, _mask(range(1, 2 * lanes, 2)))
    return builder.fadd(even, odd, flags=FAST)


def _row_sums(builder, vectors):
    """One vector with the sum of each of four vectors."""
    vectors = [_fold(builder, v, 4) for v in vectors]
    if vectors[0].type.count == 4:
        return _four_sums(builder, vectors)
    if vectors[0].type.count == 2:
        vectors = [_pair_sums(builder, *vectors[:2]), _pair_sums(builder, *vectors[2:])]
    while len(vectors) > 1:
        lanes = _mask(range(2 * vectors[0].type.count))
        vectors = [
            builder.shuffle_vector(u, v, lanes) for u, v in zip(vectors[::2], vectors[1::2], strict=True)
        ]
    return vectors[0]


def _four_sums(builder, vectors):
    """Add up each of four vectors of four lanes, by shuffles that keep to 128 bits wherever there are more.

    Not by sums of neighbours: LLVM makes horizontal additions of them, which take twice the time.
    """
    single = isinstance(vectors[0].type.element, ir.FloatType)
    masks = ([0, 4, 1, 5], [2, 6, 3, 7]) if single else ([0, 4, 2, 6], [1, 5, 3, 7])

    def halves(left, right, low, high):
        low = builder.shuffle_vector(left, right, _mask(low))
        return builder.fadd(low, builder.shuffle_vector(left, right, _mask(high)), flags=FAST)

    pairs = halves(*vectors[:2], *masks), halves(*vectors[2:], *masks)
    return halves(*pairs, [0, 1, 4, 5], [2, 3, 6, 7])


def _four_places(context, builder, index, start):
    """Channels of four photons."""
    places = _data(context, builder, *index)
    place = context.get_data_type(index[0].dtype)
    found = []
    for t in range(4):
        offset = builder.add(start, ir.Constant(start.type, t))
        channel = builder.load(builder.gep(places, [offset], source_etype=place), typ=place)
        found.append(builder.zext(channel, start.type) if place.width < start.type.width else channel)
    return found


def _four_ratios(context, builder, number, start, rows, vector, floor):
    """Fits of four photons, clamped from below, and their counts over these."""
    fits = _row_sums(builder, [builder.fmul(row, vector, flags=FAST) for row in rows])
    least = _splat(builder, floor, 4)
    fits = builder.select(builder.fcmp_ordered(">", least, fits), least, fits)
    counts = builder.uitofp(_load_from(context, builder, *number, start, 4), fits.type)
    return fits, builder.fdiv(counts, fits, flags=FAST)


def _lane(builder, vector, lane, lanes):
    """One lane of a vector, in all lanes of another."""
    return builder.shuffle_vector(vector, vector, _mask([lane] * lanes))


def _weighted_sum(builder, weights, rows):
    """Σ weight · row of four rows, in two sums so that fewer wait for each other."""
    parts = [
        builder.fmul(_lane(builder, weights, t, row.type.count), row, flags=FAST)
        for t, row in enumerate(rows)
    ]
    pairs = [builder.fadd(parts[0], parts[2], flags=FAST), builder.fadd(parts[1], parts[3], flags=FAST)]
    return builder.fadd(*pairs, flags=FAST)


@intrinsic
def ratio_gains4(typingctx, table, index, start, number, vector, floor, fit, at):
    """Σ ratio · row of four photons from place ``start`` on; writes their fits to place ``at``.

    A fit is ``table[index] · vector``, at least ``floor``; a ratio the photon's ``number`` over it. Four at a
    time, since four horizontal sums cost hardly more shuffles than one, and rows are read once.
    """

    def codegen(context, builder, signature, args):
        table, index, start_type, number, vec, _, fit, at = zip(signature.args, args, strict=True)
        start = context.cast(builder, start_type[1], start_type[0], types.intp)
        places = _four_places(context, builder, index, start)
        rows = [_load_row(context, builder, *table, place, vec[0].lanes) for place in places]
        fits, ratios = _four_ratios(context, builder, number, start, rows, args[4], args[5])
        _store_to(context, builder, *fit, context.cast(builder, at[1], at[0], types.intp), fits)
        return _weighted_sum(builder, ratios, rows)

    return vector(table, index, start, number, vector, floor, fit, at), codegen


@intrinsic
def ratio_spread4(typingctx, table, index, start, number, vector, floor, out):
    """Add ``ratio * vector`` to the rows of ``out`` of four photons, in double precision."""

    def codegen(context, builder, signature, args):
        table, index, start_type, number, vec, _, out = zip(signature.args, args, strict=True)
        start = context.cast(builder, start_type[1], start_type[0], types.intp)
        places = _four_places(context, builder, index, start)
        rows = [_load_row(context, builder, *table, place, vec[0].lanes) for place in places]
        _, ratios = _four_ratios(context, builder, number, start, rows, args[4], args[5])
        ratios, wide = _widened(builder, ratios), _widened(builder, args[4])
        for t, place in enumerate(places):
            before = _load_row(context, builder, *out, place, vec[0].lanes)
            more = builder.fmul(_lane(builder, ratios, t, vec[0].lanes), wide, flags=FAST)
            _store_row(context, builder, *out, place, builder.fadd(before, more, flags=FAST))
        return context.get_dummy_value()

    return types.void(table, index, start, number, vector, floor, out), codegen


@intrinsic
def weighted_gains4(typingctx, like, table, index, start, weight, at):
    """Σ weight · row of four photons from place ``start`` on; their weights, or counts, begin at ``at``."""
    vec = Vec(table.dtype, like.count)

    def codegen(context, builder, signature, args):
        _, table, index, start, weight, at = zip(signature.args, args, strict=True)
        start, at = (context.cast(builder, place, kind, types.intp) for kind, place in (start, at))
        places = _four_places(context, builder, index, start)
        rows = [_load_row(context, builder, *table, place, vec.lanes) for place in places]
        weights = _load_from(context, builder, *weight, at, 4)
        if weights.type.element != rows[0].type.element:
            weights = builder.uitofp(weights, ir.VectorType(rows[0].type.element, 4))
        return _weighted_sum(builder, weights, rows)

    return vec(like, table, index, start, weight, at), codegen


@intrinsic
def count_spread4(typingctx, index, start, number, vector, out):
    """Add ``number * vector`` to the rows of ``out`` of four photons, in double precision."""

    def codegen(context, builder, signature, args):
        index, start_type, number, vec, out = zip(signature.args, args, strict=True)
        start = context.cast(builder, start_type[1], start_type[0], types.intp)
        places = _four_places(context, builder, index, start)
        counts = _load_from(context, builder, *number, start, 4)
        counts = builder.uitofp(counts, ir.VectorType(ir.DoubleType(), 4))
        wide = _widened(builder, args[3])
        for t, place in enumerate(places):
            before = _load_row(context, builder, *out, place, vec[0].lanes)
            more = builder.fmul(_lane(builder, counts, t, vec[0].lanes), wide, flags=FAST)
            _store_row(context, builder, *out, place, builder.fadd(before, more, flags=FAST))
        return context.get_dummy_value()

    return types.void(index, start, number, vector, out), codegen
