"""Worker processes: the results of threads, and what is left when workers are killed."""

import os
import pickle
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import edxdask
from edxdask.budget import MemoryPlan
from edxdask.engine import cluster_executor
from edxdask.engine.problem import Demand, photons_of
from edxdask.engine.step import Halo
from edxdask.errors import EdxdaskError, ParameterError
from edxdask.factorize.nmf import nmf

pytestmark = pytest.mark.cluster


def cube(shape=(40, 23), channels=80, *, seed=0, chunk=7):
    rng = np.random.default_rng(seed)
    shapes = rng.gamma(0.3, size=(3, channels))
    counts = rng.poisson(rng.gamma(1.0, size=(*shape, 3)) @ shapes * 0.3).astype(np.uint16)
    return edxdask.from_array(counts, energy_offset=0.0, energy_scale=0.01).chunk({"y": chunk, "x": 9})


def same(one, two, tolerance=1e-6):
    for name in ("spectrum", "abundance", "total", "objective"):
        size = float(np.abs(two[name]).max())
        np.testing.assert_allclose(one[name], two[name], rtol=0, atol=tolerance * size, err_msg=name)


@pytest.fixture(scope="module", params=[2, 3])
def client(request):
    from edxdask.cluster import client_for

    with client_for("local", workers=request.param, memory="1GiB") as client:
        client.wait_for_workers(request.param, timeout=240)
        yield client


@pytest.fixture
def two_workers():
    from edxdask.cluster import client_for

    with client_for("local", workers=2, memory="1GiB") as client:
        client.wait_for_workers(2, timeout=240)
        yield client


OPTIONS = {"phases": 3, "max_iter": 30, "tol": 0}


@pytest.fixture(scope="module")
def on_threads():
    """Results of threads, made where no Client is in force."""
    made = {}

    def run(key, ds, **options):
        if key not in made:
            with _no_client():
                made[key] = nmf(ds, **options)
        return made[key]

    return run


class _no_client:
    """Hide the Client in force."""

    def __enter__(self):
        from edxdask.engine import problem

        self.module, self.kept = problem, problem.active_client
        problem.active_client = lambda: None

    def __exit__(self, *_):
        self.module.active_client = self.kept


@pytest.mark.parametrize("loss", ["kl", "frobenius"])
@pytest.mark.parametrize("accelerate", [False, True])
def test_processes_give_the_results_of_threads(client, on_threads, loss, accelerate):
    options = {**OPTIONS, "loss": loss, "accelerate": accelerate}
    same(nmf(cube(), **options), on_threads((loss, accelerate), cube(), **options))


def test_collections_and_stacks_run_on_processes(client, on_threads):
    tree = xr.DataTree.from_dict({"/a": cube((9, 7)), "/b": cube((20, 11), seed=1)})
    found, expected = nmf(tree, **OPTIONS), on_threads("tree", tree, **OPTIONS)
    for name in ("a", "b"):
        np.testing.assert_allclose(found[name]["abundance"], expected[name]["abundance"], atol=1e-6)
    np.testing.assert_allclose(found["spectrum"], expected["spectrum"], atol=1e-6)


def left_behind(dask_worker):
    return [str(path) for path in Path(dask_worker.local_directory).glob("edxdask-photons-*")]


def test_the_photon_cache_on_disk_gives_the_same_and_leaves_nothing(
    client, on_threads, monkeypatch, tmp_path
):
    monkeypatch.setattr(MemoryPlan, "cached", property(lambda plan: True))
    expected = on_threads(("kl", True), cube(), **{**OPTIONS, "loss": "kl", "accelerate": True})
    held = []
    same(nmf(cube(), **OPTIONS, progress=lambda _: held.append(client.run(left_behind))), expected)
    assert all(folders for folders in held[0].values())  # each worker its own
    assert not any(client.run(left_behind).values())
    same(nmf(cube(), **OPTIONS, cache=tmp_path), expected)
    assert not list(tmp_path.iterdir())


def test_errors_of_workers_arrive_as_they_are(client):
    ds = cube()
    counts = ds.counts.astype(np.int32) * 1
    counts[5, 5, 5] = -3
    with pytest.raises(ParameterError, match=r"counts=-3: .* never negative"):
        nmf(ds.assign(counts=counts), **OPTIONS)


def test_a_cluster_without_workers_is_told():
    from distributed import LocalCluster

    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
        cluster.get_client(),
        pytest.raises(EdxdaskError, match="no workers yet"),
    ):
        nmf(cube(), **OPTIONS)


def test_a_cube_in_memory_travels_once():
    counts = np.ones((64, 16, 512), np.uint16)
    ds = edxdask.from_array(counts, energy_offset=0.0, energy_scale=0.01).chunk({"y": 8})
    from edxdask.engine.layout import plan_partitions
    from edxdask.engine.partition import PartitionJob
    from edxdask.engine.problem import _sources, maps_of

    maps = maps_of(ds)
    plans = plan_partitions([m.stack for m in maps], 4)
    jobs = [PartitionJob(plan, _sources(maps, plan), np.arange(60)) for plan in plans]
    sizes = [len(pickle.dumps(job.culled())) for job in jobs]
    assert len(plans) == 4
    assert sum(sizes) < 1.1 * counts.nbytes


class Killer:
    """Progress hook that kills a worker at some iterations; remembers whom."""

    def __init__(self, client, iterations):
        self.client, self.iterations, self.killed = client, set(iterations), []

    def __call__(self, progress):
        if progress.done in self.iterations:
            pids = self.client.run(os.getpid)
            pid = pids[sorted(pids)[0]]
            os.kill(pid, signal.SIGKILL)
            self.killed.append(pid)


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_worker_killed_three_times_changes_nothing(two_workers, on_threads, checkpoint, tmp_path):
    options = {**OPTIONS, "max_iter": 70}
    undisturbed = on_threads("killed", cube(), **options)
    killer = Killer(two_workers, (6, 29, 68))
    folder = tmp_path / "checkpoint" if checkpoint else None
    found = nmf(cube(), **options, progress=killer, checkpoint=folder)
    assert len(set(killer.killed)) == 3
    same(found, undisturbed)


@pytest.mark.timeout(120)
def test_a_run_goes_on_when_all_workers_were_lost_at_once(two_workers, on_threads):
    killed = []

    def kill_all(progress):
        if progress.done in (6, 20):
            pids = list(two_workers.run(os.getpid).values())
            killed.extend(pids)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)

    expected = on_threads(("kl", True), cube(), **{**OPTIONS, "loss": "kl", "accelerate": True})
    same(nmf(cube(), **OPTIONS, progress=kill_all), expected)
    assert len(set(killed)) >= 3  # both, and then whichever had come back


def test_a_worker_that_comes_back_gets_its_partitions_back(two_workers, monkeypatch):
    monkeypatch.setattr(cluster_executor, "ROSTER_SECONDS", 0.0)
    killer = Killer(two_workers, (5,))
    homes = []

    def watch(progress):
        killer(progress)
        if progress.done == 6:
            two_workers.wait_for_workers(2, timeout=240)
        if progress.done == 30:
            held = two_workers.has_what()
            homes.extend(len([k for k in keys if "advance" in str(k)]) for keys in held.values())

    nmf(cube(), **OPTIONS, progress=watch)
    assert len(homes) == 2
    assert min(homes) >= 1


def test_a_cache_on_disk_is_made_again_with_its_worker(two_workers, on_threads, monkeypatch):
    monkeypatch.setattr(cluster_executor, "ROSTER_SECONDS", 0.0)
    monkeypatch.setattr(MemoryPlan, "cached", property(lambda plan: True))
    killer = Killer(two_workers, (5, 17))
    held = []

    def watch(progress):
        killer(progress)
        if progress.done == 30:
            two_workers.wait_for_workers(2, timeout=240)
            held.append(two_workers.run(left_behind))

    expected = on_threads(("kl", True), cube(), **{**OPTIONS, "loss": "kl", "accelerate": True})
    same(nmf(cube(), **OPTIONS, progress=watch), expected)
    # both are there; whether the new one holds partitions by then is the scheduler's choice
    assert len(held[0]) == 2
    assert any(held[0].values())


def scheduler_tasks(dask_scheduler):
    return len(dask_scheduler.tasks)


def test_chains_of_tasks_do_not_grow_for_ever(two_workers, on_threads, monkeypatch):
    monkeypatch.setattr(cluster_executor, "CHAIN_ROUNDS", 10)
    tasks = []
    options = {**OPTIONS, "max_iter": 60}
    expected = on_threads("chain", cube(), **options)
    found = nmf(
        cube(), **options, progress=lambda _: tasks.append(two_workers.run_on_scheduler(scheduler_tasks))
    )
    same(found, expected)
    partitions = 4
    # a round leaves one state a partition in the chain; photons, sizes and statistics come on top
    assert max(tasks) <= (10 + 6) * partitions
    # that of a round still running may be counted or not; a chain that grew would add 30 rounds
    assert max(tasks[30:]) <= max(tasks[:30]) + partitions


def test_many_workers_get_the_factors_from_one_another_and_add_in_a_tree(client, on_threads, monkeypatch):
    monkeypatch.setattr(cluster_executor, "FEW_WORKERS", 0)
    monkeypatch.setattr(cluster_executor, "INLINE_PARTITIONS", 2)
    monkeypatch.setattr(cluster_executor, "TREE_WIDTH", 2)
    expected = on_threads(("kl", True), cube(), **{**OPTIONS, "loss": "kl", "accelerate": True})
    same(nmf(cube(), **OPTIONS), expected)


class Deadly:
    """A number that kills the first process it leaves."""

    def __init__(self, value, mark):
        self.value, self.mark = value, mark

    def __add__(self, other):
        return Deadly(self.value + other.value, self.mark)

    def __reduce__(self):
        if not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Deadly, (self.value, self.mark)


class NoHalo:
    """A step in which pixels do not interact."""

    halo_rows = 0
    halo_names = ()


@dataclass
class DeadlyCount(NoHalo):
    """Counts pixels, and kills a worker as it tells how many."""

    mark: Path

    def run(self, partition, state, shared, halo):
        return {"pixels": Deadly(partition.plan.pixels, self.mark)}


def test_a_worker_killed_as_it_hands_out_statistics_changes_nothing(two_workers, tmp_path):
    mark = tmp_path / "killed"
    with photons_of(cube(), step="test", demand=Demand(8, 0)) as problem:
        found = problem.executor.advance(DeadlyCount(mark), None)
        assert found["pixels"].value == 40 * 23
        assert mark.exists()


class Failing(NoHalo):
    """Fails on every partition."""

    def run(self, partition, state, shared, halo):
        raise ParameterError("phases", 0, "a whole number of at least 1")


def test_errors_of_a_round_arrive_as_they_are(two_workers):
    with (
        photons_of(cube(), step="test", demand=Demand(8, 0)) as problem,
        pytest.raises(ParameterError, match="phases=0"),
    ):
        problem.executor.advance(Failing(), None)


def test_states_that_two_workers_hold_count_once(two_workers, tmp_path):
    mark = tmp_path / "nobody is killed"
    mark.touch()
    with photons_of(cube(), step="test", demand=Demand(8, 0)) as problem:
        executor = problem.executor
        executor.advance(DeadlyCount(mark), None)
        assert executor._ask_workers()["pixels"].value == 40 * 23
        two_workers.replicate(executor._states)
        assert executor._ask_workers() is None
        assert executor.advance(DeadlyCount(mark), None)["pixels"].value == 40 * 23


class NeighbourSum:
    """Each pixel becomes the sum over the rows within ``halo_rows`` above and below."""

    halo_names = ("value",)

    def __init__(self, rows):
        self.halo_rows = rows

    def run(self, partition, state, shared, halo: Halo):
        tiles = partition.tiles
        fresh = np.empty_like(state["value"])
        for tile in tiles:
            width = tile.plan.width
            own = state["value"][tile.pixels]
            above = halo.above.get("value", own[:0]) if tile is tiles[0] else own[:0]
            below = halo.below.get("value", own[:0]) if tile is tiles[-1] else own[:0]
            column = np.concatenate([above, own, below]).reshape(-1, width)
            first = len(above) // width
            rows = range(first, first + tile.plan.rows)
            fresh[tile.pixels] = np.concatenate(
                [column[max(0, r - self.halo_rows) : r + self.halo_rows + 1].sum(axis=0) for r in rows]
            )
        state["value"][:] = fresh
        return {"sum": fresh.sum()}


def values(partition):
    first = partition.plan.first_pixel
    return {"value": np.arange(first, first + partition.plan.pixels, dtype=np.float64)}


def value_of(partition, state):
    return state["value"]


@pytest.mark.parametrize("rows", [1, 3, 9])
def test_halos_reach_across_processes(client, rows):
    with photons_of(cube(chunk=3), step="test", demand=Demand(8, 0)) as problem:
        problem.executor.start(values)
        problem.executor.advance(NeighbourSum(rows), None)
        found = np.concatenate(list(problem.executor.collect(value_of))).reshape(40, 23)
    whole = np.arange(40 * 23, dtype=np.float64).reshape(40, 23)
    expected = np.stack([whole[max(0, r - rows) : r + rows + 1].sum(axis=0) for r in range(40)])
    np.testing.assert_array_equal(found, expected)
