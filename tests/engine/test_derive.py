"""Derived partitions: bins and thinning do not know where partitions end."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edxdask.engine.derive import Thinning, as_photons
from edxdask.engine.executor import ThreadExecutor
from edxdask.engine.partition import Partition
from edxdask.engine.problem import Demand, photons_of
from edxdask.engine.step import State
from edxdask.photons import concat_blocks, to_dense


def dense_of(partition: Partition, state: State) -> np.ndarray:
    return to_dense(concat_blocks([as_photons(block) for _, block in partition.blocks()]), np.uint32)


def binned(counts: np.ndarray, factor: int) -> np.ndarray:
    rows = np.add.reduceat(counts, np.arange(0, counts.shape[-3], factor), axis=-3)
    return np.add.reduceat(rows, np.arange(0, counts.shape[-2], factor), axis=-2)


def cube(counts, chunks=None):
    import edxdask

    ds = edxdask.from_array(counts, energy_offset=0.1, energy_scale=0.01)
    return ds if chunks is None else ds.chunk(chunks)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 20),
    factor=st.integers(1, 13),
    chunk=st.integers(1, 17),
    workers=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_bins_across_partitions_are_those_of_the_whole(rows, columns, factor, chunk, workers, seed):
    counts = np.random.default_rng(seed).poisson(0.3, (rows, columns, 8)).astype(np.uint16)
    counts[0, 0, 0] = 1
    ds = cube(counts, {"y": chunk, "x": 7})
    with (
        photons_of(ds, step="test", demand=Demand(0, 0), workers=workers) as problem,
        problem.derived(factor=factor) as bins,
    ):
        found = np.concatenate(list(bins.executor.collect(dense_of)))
    np.testing.assert_array_equal(found, binned(counts.astype(np.uint32), factor).reshape(-1, 8))
    assert bins.photons == counts.sum()
    assert sum(plan.pixels for plan in bins.plans) == len(found)


@pytest.mark.parametrize("factor", [1, 3])
def test_images_of_a_stack_are_binned_apart(factor):
    counts = np.random.default_rng(1).poisson(0.5, (3, 10, 7, 6)).astype(np.uint16)
    with (
        photons_of(cube(counts), step="test", demand=Demand(0, 0), workers=2) as problem,
        problem.derived(factor=factor) as bins,
    ):
        found = np.concatenate(list(bins.executor.collect(dense_of)))
    np.testing.assert_array_equal(found, binned(counts.astype(np.uint32), factor).reshape(-1, 6))


def test_copies_that_do_not_fit_go_to_disk_and_are_made_again_where_their_files_are_gone(tmp_path):
    counts = np.random.default_rng(3).poisson(1.0, (40, 30, 64)).astype(np.uint16)
    ds = cube(counts, {"y": 8})
    with photons_of(ds, step="test", demand=Demand(0, 0), workers=2, cache=tmp_path) as problem:
        expected = binned(counts.astype(np.uint32), 3).reshape(-1, 64)
        plan = replace(problem.memory, reading=0)
        tight = replace(plan, limit=plan.copies_on_disk)
        with replace(problem, memory=tight).derived(factor=3) as bins:
            files = list(tmp_path.rglob("*.photons"))
            assert len(files) == len(bins.plans)
            np.testing.assert_array_equal(np.concatenate(list(bins.executor.collect(dense_of))), expected)
            for file in files:
                file.unlink()
            np.testing.assert_array_equal(np.concatenate(list(bins.executor.collect(dense_of))), expected)
        assert list(tmp_path.iterdir()) == []
        with problem.derived(factor=3) as bins:
            assert list(tmp_path.iterdir()) == []
            assert bins.memory.photons > problem.memory.photons


def test_both_parts_of_a_split_count_in_the_plan_of_what_is_made_from_them():
    counts = np.random.default_rng(3).poisson(1.0, (64, 64, 64)).astype(np.uint16)
    with (
        photons_of(cube(counts), step="test", demand=Demand(0, 0), workers=1) as problem,
        problem.split_in_two(0.5, seed=0) as (train, judge),
        train.derived(factor=2, beside=train) as bins,
    ):
        sizes = [
            sum(block.nbytes for part in p.executor.collect(blocks_of) for block in part)
            for p in (problem, train, judge, bins)
        ]
        assert train.photons + judge.photons == problem.photons
        assert bins.memory.photons == pytest.approx(sum(sizes), rel=0.1)


def blocks_of(partition: Partition, state: State) -> list:
    return [block for _, block in partition.blocks()]


def test_the_two_parts_of_a_thinning_add_up_whatever_the_partitions():
    counts = np.random.default_rng(2).poisson(2.0, (20, 9, 6)).astype(np.uint16)
    parts = {}
    for chunk, workers in ((3, 4), (20, 1)):
        with photons_of(
            cube(counts, {"y": chunk}), step="test", demand=Demand(0, 0), workers=workers
        ) as problem:
            for rest in (False, True):
                with problem.derived(factor=2, thinning=Thinning(0.3, 7, rest)) as part:
                    parts[chunk, rest] = np.concatenate(list(part.executor.collect(dense_of)))
    np.testing.assert_array_equal(parts[3, False], parts[20, False])
    whole = binned(counts.astype(np.uint32), 2).reshape(-1, 6)
    np.testing.assert_array_equal(parts[3, False] + parts[3, True], whole)
    assert isinstance(problem.executor, ThreadExecutor)
