"""Photons as a SciPy matrix: the counts themselves, in the order of the pixels, in little memory."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from scipy.sparse import csr_array

import edxdask
from edxdask.errors import MemoryBudgetError, ParameterError


def cube(shape=(10, 13, 40), dtype="u2", seed=0, **options):
    counts = np.random.default_rng(seed).poisson(0.2, shape).astype(dtype)
    return edxdask.from_array(counts, energy_offset=0.0, energy_scale=0.01, **options)


def assert_same(matrix, ds):
    assert isinstance(matrix, csr_array)
    assert matrix.dtype == ds.counts.dtype
    assert matrix.has_canonical_format
    assert (matrix.data != 0).all()
    np.testing.assert_array_equal(matrix.toarray().reshape(ds.counts.shape), ds.counts.values)


@pytest.mark.parametrize("shape", [(9, 40), (10, 13, 40), (3, 5, 6, 40)])
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i4", ">u2"])
def test_the_matrix_holds_the_counts_in_c_order(shape, dtype):
    ds = cube(shape).assign(counts=lambda d: d.counts.astype(dtype))
    matrix = edxdask.to_sparse(ds, progress=False)
    np.testing.assert_array_equal(matrix.toarray().reshape(shape), ds.counts.values)
    assert matrix.dtype == np.dtype(dtype).newbyteorder("=")


@pytest.mark.parametrize(
    "chunks", [{"y": 4, "x": 5}, {"y": 3}, {"x": 1}, {"energy": 7}, {"y": 2, "energy": 39}]
)
@pytest.mark.parametrize("workers", [1, 3])
def test_chunks_and_threads_do_not_matter(chunks, workers):
    ds = cube()
    assert_same(edxdask.to_sparse(ds.chunk(chunks), workers=workers), ds)


def test_a_store_is_read_chunk_by_chunk(tmp_path):
    ds = cube((70, 130, 40))
    assert_same(edxdask.save(ds, tmp_path / "a.zarr").edx.to_sparse(), ds)


def test_a_collection_gives_a_matrix_by_name_even_of_unlike_axes():
    maps = {"a": cube((4, 5, 40)), "b": cube((6, 3, 32), seed=1)}
    found = xr.DataTree.from_dict({f"/{name}": ds for name, ds in maps.items()}).edx.to_sparse()
    assert list(found) == ["a", "b"]
    for name, ds in maps.items():
        assert_same(found[name], ds)


def test_the_type_of_the_counts_can_be_chosen():
    assert edxdask.to_sparse(cube(), dtype="float64").dtype == np.float64
    with pytest.raises(ParameterError, match=r"dtype='uint8': expected one that holds a count of \d+00"):
        edxdask.to_sparse(
            edxdask.from_array(np.full((2, 2, 3), 300), energy_offset=0, energy_scale=0.01), dtype="u1"
        )
    with pytest.raises(ParameterError, match="dtype='complex128': expected"):
        edxdask.to_sparse(cube(), dtype=complex)


def test_what_does_not_fit_is_refused_before_it_is_read():
    chunks = []

    def read(block):
        chunks.append(block.shape)
        return block

    counts = da.ones((4096, 64, 64), dtype="u2", chunks=(16, 64, 64)).map_blocks(read, dtype="u2")
    ds = edxdask.from_array(counts, energy_offset=0.0, energy_scale=0.01)
    chunks.clear()
    with pytest.raises(MemoryBudgetError, match=r"to_sparse does not fit memory_limit=10\.00 MiB.*edx\.crop"):
        edxdask.to_sparse(ds, memory_limit="10MiB")
    assert len(chunks) < 100  # of 256


def test_memory_stays_below_what_was_predicted(tmp_path):
    """A cube of 512 MiB, dense, made in a process of its own: matrix, photons and chunks fit a quarter."""
    import subprocess
    import sys

    code = """
import resource
import dask.array as da
import numpy as np
import edxdask

def draw(block, block_info=None):
    rng = np.random.default_rng(block_info[None]["chunk-location"][0])
    return (rng.random(block.shape, dtype="f4") < 0.01).astype("u2")

counts = da.zeros((2048, 64, 2048), dtype="u2", chunks=(16, 64, 2048)).map_blocks(draw, dtype="u2")
ds = edxdask.from_array(counts, energy_offset=0.0, energy_scale=0.01)
edxdask.to_sparse(ds[dict(y=slice(0, 32))], workers=2)  # compiles
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
matrix = edxdask.to_sparse(ds, workers=2)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, matrix.nnz)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    grown, nonzeros = map(int, done.stdout.split())
    assert nonzeros == pytest.approx(0.01 * 2048 * 64 * 2048, rel=0.01)
    # matrix: 6 bytes per entry, photons: 3; the rest is a few chunks of 4 MiB
    assert grown < 9 * nonzeros / 2**20 + 60


def test_progress_counts_pixels():
    events = []
    edxdask.to_sparse(cube().chunk({"y": 4}), progress=events.append)
    assert [(event.label, event.done, event.total) for event in events] == [
        ("to_sparse", 52, 130),
        ("to_sparse", 104, 130),
        ("to_sparse", 130, 130),
    ]
