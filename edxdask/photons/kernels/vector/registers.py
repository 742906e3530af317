"""Short vectors for numba: one value that LLVM keeps in one SIMD register.

A photon's work is a few multiply-adds on the ``k`` numbers of its channel. Written as loops over ``k``,
LLVM leaves them scalar; as vectors of fixed length they become packed instructions. The length comes
from the type of ``like``, a dummy tuple, so that it is known at compile time and kernels still cache.

Arrays must be C-contiguous. Rows of the two-dimensional ones are exactly one vector long.
"""

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

FAST = ("contract", "reassoc", "nsz")  # NaN and infinity keep their meaning


class Vec(types.Type):
    """Numba type of ``lanes`` numbers of ``dtype``."""

    def __init__(self, dtype, lanes):
        self.dtype, self.lanes = dtype, lanes
        super().__init__(name=f"Vec({dtype}x{lanes})")


@register_model(Vec)
class _VecModel(models.PrimitiveModel):
    def __init__(self, dmm, fe_type):
        element = dmm.lookup(fe_type.dtype).get_value_type()
        super().__init__(dmm, fe_type, ir.VectorType(element, fe_type.lanes))


def _data(context, builder, array_type, array):
    """Where an array's numbers begin: one instruction, where a copy of its header would be six."""
    return context.data_model_manager[array_type].get(builder, array, "data")


def _widened(builder, vector):
    """Return the vector in double precision."""
    wide = ir.VectorType(ir.DoubleType(), vector.type.count)
    return vector if vector.type == wide else builder.fpext(vector, wide)


def _load_from(context, builder, array_type, array, start, lanes):
    """Vector of the ``lanes`` numbers of an array from place ``start`` on."""
    data = _data(context, builder, array_type, array)
    element = context.get_data_type(array_type.dtype)
    vector = ir.VectorType(element, lanes)
    pointer = builder.gep(data, [start], source_etype=element)
    pointer = builder.bitcast(pointer, vector.as_pointer())
    return builder.load(pointer, align=array_type.dtype.bitwidth // 8, typ=vector)


def _load_row(context, builder, array_type, array, row, lanes):
    """Vector of row ``row`` of an array with rows ``lanes`` long."""
    start = builder.mul(row, ir.Constant(row.type, lanes))
    return _load_from(context, builder, array_type, array, start, lanes)


def _store_to(context, builder, array_type, array, start, vector):
    """Write ``vector`` to an array from place ``start`` on."""
    data = _data(context, builder, array_type, array)
    element = context.get_data_type(array_type.dtype)
    pointer = builder.gep(data, [start], source_etype=element)
    pointer = builder.bitcast(pointer, vector.type.as_pointer())
    builder.store(vector, pointer, align=array_type.dtype.bitwidth // 8)


def _store_row(context, builder, array_type, array, row, vector):
    """Write ``vector`` as row ``row`` of an array with rows of that length."""
    start = builder.mul(row, ir.Constant(row.type, vector.type.count))
    _store_to(context, builder, array_type, array, start, vector)


def _splat(builder, scalar, lanes):
    vector = ir.VectorType(scalar.type, lanes)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, one, _mask([0] * lanes))


def _mask(places):
    index = ir.IntType(32)
    return ir.Constant(ir.VectorType(index, len(places)), [ir.Constant(index, p) for p in places])


def _mul_add(builder, left, right, added):
    return builder.fadd(builder.fmul(left, right, flags=FAST), added, flags=FAST)


@intrinsic
def zero(typingctx, like, dtype):
    """Zero vector of ``len(like)`` lanes of ``dtype``'s type (a scalar)."""
    vec = Vec(types.unliteral(dtype), like.count)

    def codegen(context, builder, signature, args):
        return cgutils.get_null_value(context.get_value_type(vec))

    return vec(like, dtype), codegen


@intrinsic
def load(typingctx, like, array, row):
    """Row ``row`` of ``array``."""
    vec = Vec(array.dtype, like.count)

    def codegen(context, builder, signature, args):
        row = context.cast(builder, args[2], signature.args[2], types.intp)
        return _load_row(context, builder, signature.args[1], args[1], row, vec.lanes)

    return vec(like, array, row), codegen


@intrinsic
def store(typingctx, array, row, vector):
    """Write ``vector`` to row ``row`` of ``array``."""

    def codegen(context, builder, signature, args):
        row = context.cast(builder, args[1], signature.args[1], types.intp)
        _store_row(context, builder, signature.args[0], args[0], row, args[2])
        return context.get_dummy_value()

    return types.void(array, row, vector), codegen


@intrinsic
def fma(typingctx, scalar, vector, added):
    """``scalar * vector + added``; the scalar must have the vectors' type."""

    def codegen(context, builder, signature, args):
        factor = context.cast(builder, args[0], signature.args[0], signature.args[1].dtype)
        product = builder.fmul(_splat(builder, factor, signature.args[1].lanes), args[1], flags=FAST)
        return builder.fadd(product, args[2], flags=FAST)

    return added(scalar, vector, added), codegen


@intrinsic
def fma_each(typingctx, left, right, added):
    """``left * right + added``, lane by lane."""

    def codegen(context, builder, signature, args):
        return builder.fadd(builder.fmul(args[0], args[1], flags=FAST), args[2], flags=FAST)

    return added(left, right, added), codegen


@intrinsic
def multiply(typingctx, left, right):
    """``left * right``, lane by lane."""

    def codegen(context, builder, signature, args):
        return builder.fmul(args[0], args[1], flags=FAST)

    return left(left, right), codegen


@intrinsic
def divide(typingctx, above, below, keep, floor):
    """``above / below`` with zeros of ``below`` replaced by ``floor``; 1 in lanes where ``keep`` is 1."""

    def codegen(context, builder, signature, args):
        above, below, keep, floor = args
        floor = context.cast(builder, floor, signature.args[3], signature.args[1].dtype)
        lanes = below.type.count
        nothing = ir.Constant(below.type, [0.0] * lanes)
        one = ir.Constant(below.type, [1.0] * lanes)
        empty = builder.fcmp_ordered("==", below, nothing)
        ratio = builder.fdiv(above, builder.select(empty, _splat(builder, floor, lanes), below))
        return builder.select(builder.fcmp_ordered("==", keep, one), one, ratio)

    return above(above, below, keep, floor), codegen


@intrinsic
def lift(typingctx, vector, least):
    """Raise what is above zero to ``least``; zeros and NaN stay."""

    def codegen(context, builder, signature, args):
        vector, least = args
        below = builder.fcmp_ordered("<", vector, least)
        some = builder.fcmp_ordered(">", vector, ir.Constant(vector.type, None))
        return builder.select(builder.and_(below, some), least, vector)

    return vector(vector, least), codegen


@intrinsic
def add(typingctx, left, right):
    """``left + right``, lane by lane."""

    def codegen(context, builder, signature, args):
        return builder.fadd(args[0], args[1], flags=FAST)

    return left(left, right), codegen


@intrinsic
def widen(typingctx, vector):
    """Return the vector in double precision."""
    vec = Vec(types.float64, vector.lanes)

    def codegen(context, builder, signature, args):
        return _widened(builder, args[0])

    return vec(vector), codegen


def _fold(builder, vector, width):
    """Add the upper half to the lower until ``width`` lanes are left."""
    lanes = vector.type.count
    while lanes > width:
        lanes //= 2
        lower = builder.shuffle_vector(vector, vector, _mask(range(lanes)))
        upper = builder.shuffle_vector(vector, vector, _mask(range(lanes, 2 * lanes)))
        vector = builder.fadd(lower, upper, flags=FAST)
    return vector


@intrinsic
def fetch(typingctx, array, place):
    """Prefetch what is at a place of an array, or beyond its end, into the processor's cache."""

    def codegen(context, builder, signature, args):
        array, place = zip(signature.args, args, strict=True)
        place = context.cast(builder, place[1], place[0], types.intp)
        element = context.get_data_type(array[0].dtype)
        pointer = builder.gep(_data(context, builder, *array), [place], source_etype=element)
        byte, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag])
        call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        read, soon, data = 0, 3, 1
        builder.call(call, [builder.bitcast(pointer, byte), *(flag(n) for n in (read, soon, data))])
        return context.get_dummy_value()

    return types.void(array, place), codegen


@intrinsic
def nonzero_mask(typingctx, row, start):
    """Bits of the non-zeros among the 64 bytes of ``row`` (unsigned) from element ``start`` on."""

    def codegen(context, builder, signature, args):
        element = context.get_data_type(signature.args[0].dtype)
        lanes = 512 // element.width
        data = _data(context, builder, signature.args[0], args[0])
        start = context.cast(builder, args[1], signature.args[1], types.intp)
        vector = ir.VectorType(element, lanes)
        pointer = builder.gep(data, [start], source_etype=element)
        values = builder.load(builder.bitcast(pointer, vector.as_pointer()), align=1, typ=vector)
        differs = builder.icmp_unsigned("!=", values, ir.Constant(vector, None))
        bits = builder.bitcast(differs, ir.IntType(lanes))
        return bits if lanes == 64 else builder.zext(bits, ir.IntType(64))

    return types.uint64(row, start), codegen


@intrinsic
def lowest_bit(typingctx, word):
    """Place of the lowest set bit of a word that is not zero."""

    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), codegen


@intrinsic
def bit_count(typingctx, word):
    """Return the number of set bits of a word."""

    def codegen(context, builder, signature, args):
        return builder.ctpop(args[0])

    return types.int64(types.uint64), codegen
