"""Backends of the kernels: which one runs, and that all give the same answers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edxdask.errors import ParameterError
from edxdask.photons import PhotonBlock, SweepBlock, from_dense, hold_dense
from edxdask.photons.kernels import backend
from edxdask.photons.kernels.contract import SweepOptions, UpdateRules

PACKAGE = Path(backend.__file__).parents[2]
VECTOR, PLAIN = (backend.load_backend(name) for name in ("vector", "plain"))
# About a hundred roundings of single precision, and of double: sums of some hundred terms.
TOLERANCE = {"f4": 3e-5, "f8": 1e-11}
FLOOR = 1e-7

blocks = st.fixed_dictionaries(
    {
        "pixels": st.sampled_from([1, 15, 16, 17, 255, 256, 257, 600]),
        "channels": st.sampled_from([1, 5, 64, 200]),
        "mean": st.sampled_from([0.0, 0.02, 0.5, 5.0]),
        "held": st.sampled_from([1, 3, 1000]),
        "seed": st.integers(0, 99),
        # few, as each is compiled; test_sweeps has all numbers of phases
        "kind": st.sampled_from([(3, "f4", 1), (3, "f8", 1), (3, "f4", 300)]),
    }
)


class Case:
    """A block, factors of it, and what updates go by."""

    def __init__(self, pixels, channels, mean, held, seed, kind):
        phases, dtype, scale = kind
        rng = np.random.default_rng(seed)
        level = mean * rng.uniform(0.1, 2.0, channels)
        counts = (rng.poisson(level, (pixels, channels)) * scale).astype(np.uint32)
        counts[pixels // 2] *= 7  # a bright pixel, which may have several strips
        block: SweepBlock = hold_dense(from_dense(counts), np.arange(channels)[::held])
        self.block, self.pixels, self.channels = block.arrays, pixels, channels
        self.abundance = rng.uniform(0.5, 1.5, (pixels, phases)).astype(dtype)
        self.abundance[::3, -1] = 0
        self.spectra = rng.uniform(0.5, 1.5, (phases, channels)).astype(dtype)
        keep = np.zeros(phases)
        keep[1:2] = 1  # frozen
        rate = (1 - keep) / self.spectra.sum(axis=1, dtype=np.float64)
        self.rules = UpdateRules(rate, keep, 1e-3 * rate)
        self.close = {"rtol": TOLERANCE[dtype], "atol": 1e-30}

    def sweeps(self, name, *arguments):
        """What a sweep of each backend gives, with the new abundances."""
        for kernels in (VECTOR, PLAIN):
            abundance = self.abundance.copy()
            found = getattr(kernels, name)(self.block, abundance, self.spectra, *arguments)
            yield (*found, abundance)


def assert_close(one, other, **close):
    for mine, theirs in zip(one, other, strict=True):
        assert np.shape(mine) == np.shape(theirs)
        np.testing.assert_allclose(mine, theirs, **close)


@settings(max_examples=60, deadline=None)
@given(made=blocks, inner=st.integers(1, 3), update=st.booleans(), statistics=st.booleans())
def test_likelihood_sweeps_are_the_same(made, inner, update, statistics):
    case = Case(**made)
    options = SweepOptions(inner, update, statistics, True)
    one, other = case.sweeps("likelihood_sweep", case.rules, FLOOR, options)
    size = abs(np.log(FLOOR)) * case.block.counts.sum(dtype=np.float64)  # logarithms may cancel
    logs = one[3], other[3]
    assert logs[0] == pytest.approx(logs[1], rel=case.close["rtol"], abs=case.close["rtol"] * size + 1e-9)
    assert_close(one[:3] + one[4:], other[:3] + other[4:], **case.close)


@settings(max_examples=60, deadline=None)
@given(made=blocks, inner=st.integers(1, 3), update=st.booleans(), statistics=st.booleans())
def test_squares_sweeps_are_the_same(made, inner, update, statistics):
    case = Case(**made)
    gram = case.spectra @ case.spectra.T
    options = SweepOptions(inner, update, statistics, False)
    assert_close(*case.sweeps("squares_sweep", gram, case.rules, FLOOR, options), **case.close)


@settings(max_examples=40, deadline=None)
@given(made=blocks)
def test_products_and_models_are_the_same(made):
    case = Case(**made)
    basis, products = case.spectra.T.copy(), case.spectra[::-1].T ** 2
    products = np.ascontiguousarray(products)
    found = []
    for kernels in (VECTOR, PLAIN):
        slopes, curvatures, _ = kernels.likelihood_model(
            case.block, case.abundance, case.spectra, products, FLOOR
        )
        found.append(
            (
                kernels.project(case.block, basis, case.pixels),
                kernels.back_project(case.block, case.abundance, case.channels),
                slopes,
                curvatures,
            )
        )
    assert [part.dtype for part in found[0]] == [part.dtype for part in found[1]]
    assert_close(*found, **case.close)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("size", [0, 1, 16, 37])
def test_extrapolation_is_the_same(size, dtype):
    rng = np.random.default_rng(size)
    now, before = rng.uniform(0.01, 3, (2, size)).astype(dtype)
    now[::5], before[::7] = 0, 0
    now[1:3] = before[3:5] = np.finfo(dtype).tiny
    before[1:3] = now[3:5] = np.finfo(dtype).max / 4
    found = []
    for kernels in (VECTOR, PLAIN):
        pair = now.copy(), before.copy()
        kernels.extrapolate(*pair, 0.6)
        found.append(pair)
    assert_close(*found, rtol=TOLERANCE[dtype])
    np.testing.assert_array_equal(found[0][1], now)


@settings(max_examples=40, deadline=None)
@given(made=blocks, dtype=st.sampled_from(["u1", "u2", "u4"]))
def test_photons_of_dense_rows_are_the_same(made, dtype):
    rng = np.random.default_rng(made["seed"])
    rows = rng.poisson(made["mean"] / 5, (made["pixels"], made["channels"])).astype(dtype)
    found = []
    for kernels in (VECTOR, PLAIN):
        indptr = np.zeros(len(rows) + 1, np.int64)
        kernels.count_nonzeros(rows, indptr)
        channel, count = np.empty(indptr[-1], np.uint16), np.empty(indptr[-1], np.uint32)
        kernels.fill_nonzeros(rows, indptr, channel, count)
        found.append(PhotonBlock(indptr, channel, count, rows.shape[1]))
    for name in ("indptr", "channel", "count"):
        np.testing.assert_array_equal(getattr(found[0], name), getattr(found[1], name))


def test_the_backend_is_the_one_that_the_environment_names(monkeypatch):
    monkeypatch.setenv("EDXDASK_KERNELS", "plain")
    assert backend.kernels() is PLAIN
    monkeypatch.setenv("EDXDASK_KERNELS", "vector")
    assert backend.kernels() is VECTOR


def test_a_wrong_name_is_an_error_that_lists_the_right_ones(monkeypatch):
    monkeypatch.setenv("EDXDASK_KERNELS", "fast")
    with pytest.raises(ParameterError, match=r"'fast'.*'vector' or 'plain'"):
        from_dense(np.ones((1, 1), np.uint8))


def test_sizes_of_the_arrangement_are_known_to_backends_only():
    """Else a backend with other ones could not take their place."""
    names = re.compile(r"\b(LANES|BATCH_PIXELS|STRIP)\b")
    modules = [path for path in PACKAGE.rglob("*.py") if names.search(path.read_text())]
    kernels = PACKAGE / "photons" / "kernels"
    allowed = {kernels / "arrangement.py", kernels / "plain.py", *(kernels / "vector").glob("*.py")}
    assert set(modules) <= allowed


SWEEP = """
import numpy as np
from edxdask import photons
abundance = np.full((20, 3), 2.0, np.float32)
for _ in range(2):
    block = photons.from_dense(np.ones((20, 30), np.uint16))
    photons.kl_sweep(block, abundance, np.ones((3, 30), np.float32))
print(abundance[:, 0].sum())
"""
BREAKAGES = {  # once numba is imported, which uses some of it itself
    "a function that is gone": "import numba, llvmlite.ir; del llvmlite.ir.IRBuilder.shuffle_vector",
    "a type that is gone": "import numba, llvmlite.ir; del llvmlite.ir.VectorType",
}


@pytest.fixture(scope="module")
def broken_cache(tmp_path_factory):
    """A cache of processes in which no vector kernel can be compiled, so that none is in it."""
    return str(tmp_path_factory.mktemp("numba"))


def run(script, **variables):
    """Run a script in a process of its own, with no backend named."""
    environment = {name: value for name, value in os.environ.items() if name != "EDXDASK_KERNELS"}
    return subprocess.run(
        [sys.executable, "-W", "always::RuntimeWarning", "-c", script],
        env={**environment, "PYTHONPATH": str(PACKAGE.parent), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def run_sweep(before="", **variables):
    """Run ``SWEEP`` after something else."""
    return run(before + SWEEP, **variables)


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_where_vectors_cannot_be_compiled_loops_take_their_place_with_one_warning(breakage, broken_cache):
    done = run_sweep(BREAKAGES[breakage], NUMBA_CACHE_DIR=broken_cache)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(20 / 3)
    assert done.stderr.count("RuntimeWarning") == 1
    assert "several times slower" in done.stderr
    assert "EDXDASK_KERNELS=plain" in done.stderr


def test_vectors_that_are_asked_for_and_cannot_be_compiled_are_an_error(broken_cache):
    before = BREAKAGES["a type that is gone"]
    done = run_sweep(before, NUMBA_CACHE_DIR=broken_cache, EDXDASK_KERNELS="vector")
    assert done.returncode == 1
    assert "ParameterError: EDXDASK_KERNELS='vector'" in done.stderr


def test_plain_kernels_that_are_asked_for_warn_of_nothing(broken_cache):
    done = run_sweep(NUMBA_CACHE_DIR=broken_cache, EDXDASK_KERNELS="plain")
    assert (done.returncode, done.stderr) == (0, "")


def test_compilation_is_announced_once_and_only_where_there_is_some(tmp_path):
    first, second = (run_sweep(NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2))
    assert first.returncode == second.returncode == 0
    assert first.stderr.count("compiles its kernels") == 1
    assert second.stderr == ""


PSNMF = """
import edxdask
ds = edxdask.simulate("mantle", shape=(64, 64), counts=147.0, channels=512)
edxdask.psnmf(ds, phases=3)
"""


@pytest.mark.slow
def test_a_first_psnmf_says_that_it_compiles(tmp_path):
    for times in (1, 0):
        done = run(PSNMF, NUMBA_CACHE_DIR=str(tmp_path))
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("compiles its kernels") == times
