"""Photons of a cube as a SciPy matrix, for everything that works on those: scikit-learn, your scripts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any, overload

import dask.array as da
import numpy as np
import xarray as xr
from dask.system import CPU_COUNT

from edxdask.budget import available_memory, format_bytes, parse_bytes, resident_memory
from edxdask.engine.layout import TilePlan
from edxdask.engine.maps import MapView, maps_of, tile_array
from edxdask.engine.memory import DENSE_COPIES, KERNELS, predict_memory
from edxdask.engine.partition import read_band
from edxdask.errors import MemoryBudgetError, ParameterError
from edxdask.photons import PhotonBlock
from edxdask.progress import Progress, ProgressHook, ProgressOption, shown
from edxdask.results.collections import cubes_in, is_collection

if TYPE_CHECKING:
    from scipy.sparse import csr_array

NO_CHANNELS = np.empty(0, dtype=np.intp)  # held dense while memory is predicted


@overload
def to_sparse(
    data: xr.Dataset,
    *,
    dtype: np.typing.DTypeLike | None = None,
    workers: int | None = None,
    memory_limit: str | float | None = None,
    progress: ProgressOption = None,
) -> csr_array: ...


@overload
def to_sparse(
    data: xr.DataTree,
    *,
    dtype: np.typing.DTypeLike | None = None,
    workers: int | None = None,
    memory_limit: str | float | None = None,
    progress: ProgressOption = None,
) -> dict[str, csr_array]: ...


def to_sparse(
    data: xr.Dataset | xr.DataTree,
    *,
    dtype: np.typing.DTypeLike | None = None,
    workers: int | None = None,
    memory_limit: str | float | None = None,
    progress: ProgressOption = None,
) -> csr_array | dict[str, csr_array]:
    """Give the photons of a cube as a sparse matrix, pixels × channels.

    Row ``i`` is pixel ``i`` in C order: of a map ``(y, x)`` it is pixel ``(i // width, i % width)``, and
    ``matrix.toarray().reshape(ds.counts.shape)`` is ``ds.counts``. Columns are channels, in rising order
    within each row. Only counts that are not zero are stored.

    Parameters
    ----------
    data : Dataset or DataTree
        A cube, or a collection of cubes.
    dtype : numpy dtype or None
        Type of the counts; None takes that of ``counts``. Sums and products of small whole numbers may
        overflow: take "int64" or "float64" where you multiply counts with counts.
    workers : int or None
        Threads that read; None takes one per core.
    memory_limit : str, float or None
        Memory that may be used, such as "6GiB"; None takes what is free.
    progress : bool, callable or None
        None shows a bar in a terminal and in a notebook, False nothing; a function is called with a
        ``Progress`` after every band of rows.

    Returns
    -------
    scipy.sparse.csr_array or dict
        The matrix, with sorted indices and no explicit zeros; of a collection one by the name of each map.

    Raises
    ------
    MemoryBudgetError
        If photons and matrix do not fit; only a few chunks have been read by then.
    ParameterError
        If a count does not fit ``dtype``.

    Notes
    -----
    *Chunks*: any. Every chunk is read once, and a few of them once more before, to predict memory. A dense
    chunk is kept until its photons are extracted, at most one per thread; there is no dense cube.

    Examples
    --------
    >>> from edxdask.io import from_array
    >>> counts = np.array([[[0, 2, 0], [1, 0, 0]], [[0, 0, 0], [0, 0, 5]]], dtype="u2")
    >>> matrix = to_sparse(from_array(counts, energy_offset=0.0, energy_scale=0.01))
    >>> matrix.shape, matrix.dtype, matrix.toarray().tolist()
    ((4, 3), dtype('uint16'), [[0, 2, 0], [1, 0, 0], [0, 0, 0], [0, 0, 5]])
    """
    views = {name: maps_of(cube)[0] for name, cube in cubes_in(data).items()}
    threads = CPU_COUNT if workers is None else workers
    if isinstance(threads, bool) or threads < 1:
        raise ParameterError("workers", workers, "a number of threads of at least 1")
    wanted = {name: _count_dtype(view, dtype) for name, view in views.items()}
    with shown(progress, "to_sparse") as hook:
        _check_memory(views, wanted, threads, memory_limit)
        made = {name: _matrix(view, wanted[name], threads, hook) for name, view in views.items()}
    return made if is_collection(data) else next(iter(made.values()))


def _count_dtype(view: MapView, dtype: np.typing.DTypeLike | None) -> np.dtype[Any]:
    wanted = view.counts.dtype.newbyteorder("=") if dtype is None else np.dtype(dtype)
    if wanted.kind not in "uif":
        raise ParameterError("dtype", str(wanted), "a type of whole or of floating numbers, or None")
    return wanted


def _check_memory(
    views: Mapping[str, MapView],
    wanted: Mapping[str, np.dtype[Any]],
    threads: int,
    memory_limit: str | float | None,
) -> None:
    """Refuse what does not fit, from a sample of the chunks."""
    base = resident_memory() + KERNELS
    limit = base + int(0.8 * available_memory()) if memory_limit is None else parse_bytes(memory_limit)
    matrices = making = 0
    for name, view in views.items():
        seen = predict_memory([view], NO_CHANNELS)
        photons = view.stack.pixels * seen.sparse_per_pixel
        entries = photons / 3  # of a block: two bytes for the channel, one for the count
        matrices += int(entries * (4 + wanted[name].itemsize)) + 8 * view.stack.pixels
        making = max(making, int(photons) + threads * DENSE_COPIES * seen.piece)
    need = base + matrices + making
    if need > limit:
        raise MemoryBudgetError(
            f"to_sparse does not fit memory_limit={format_bytes(limit)}: it needs about {format_bytes(need)} "
            f"(process {format_bytes(base)}, matrix {format_bytes(matrices)}, photons and chunks while it is "
            f"made {format_bytes(making)}). Use a part of the map, ds.edx.crop(...), or ds.edx.bin(2)."
        )


def _matrix(view: MapView, dtype: np.dtype[Any], threads: int, progress: ProgressHook | None) -> csr_array:
    from scipy.sparse import csr_array, get_index_dtype  # slow to load

    blocks: deque[PhotonBlock] = deque()
    label = f"to_sparse {view.name}".rstrip()
    done = 0
    with ThreadPoolExecutor(threads, thread_name_prefix="edxdask") as pool:
        for block in pool.map(read_band, _bands(view)):
            blocks.append(block)
            done += block.pixels
            if progress is not None:
                progress(Progress(label, done, view.stack.pixels, "px"))
    channels = view.counts.shape[-1]
    nonzeros = sum(block.nonzeros for block in blocks)
    index = get_index_dtype(maxval=max(nonzeros, channels))
    indptr = np.zeros(view.stack.pixels + 1, dtype=index)
    indices, counts = np.empty(nonzeros, dtype=index), np.empty(nonzeros, dtype=dtype)
    row = at = 0
    while blocks:  # each is released when it is copied
        block = blocks.popleft()
        end = at + block.nonzeros
        indptr[row + 1 : row + 1 + block.pixels] = block.indptr[1:] + at
        indices[at:end] = block.channel
        counts[at:end] = _as_type(block.count, dtype)
        row, at = row + block.pixels, end
    return csr_array((counts, indices, indptr), shape=(view.stack.pixels, channels))


def _bands(view: MapView) -> Iterator[da.Array]:
    """Lazy rows of a map, in the order of its pixels."""
    stack = view.stack
    for image in range(stack.images):
        for edges in pairwise(stack.row_edges):
            yield tile_array(view, TilePlan(0, image, edges, stack.rows, stack.width, 0))


def _as_type(count: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    found = count.astype(dtype)
    if not np.array_equal(found, count):
        largest = int(count.max())
        raise ParameterError("dtype", str(dtype), f"one that holds a count of {largest}")
    return found
