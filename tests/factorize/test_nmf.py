"""NMF on photons: scikit-learn's updates, whatever the chunks, partitions, threads or processes."""

import warnings

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from sklearn.decomposition import NMF

import edxdask
from edxdask.errors import EdxdaskError, ParameterError, SchemaError
from edxdask.factorize.nmf import nmf

K, CHANNELS = 3, 60
SKLEARN = {"kl": "kullback-leibler", "frobenius": "frobenius"}
FILLS = {"sparse": 0.05, "dense": 3.0}  # the second has more than 35 % of its voxels filled


def counts_of(shape=(13, 11), *, seed=0, level=0.05, channels=CHANNELS):
    """Poisson counts of three phases with peaks, smooth maps, an empty pixel and an empty channel."""
    rng = np.random.default_rng(seed)
    energy = np.arange(channels)
    peaks = [np.exp(-0.5 * ((energy - c * channels / 60) / 2.0) ** 2) for c in (8, 20, 33, 41, 50)]
    spectra = np.stack([peaks[0] + peaks[1], peaks[2] + 0.5 * peaks[1], peaks[3] + peaks[4]]) + 0.02
    abundance = rng.gamma(1.0, size=(*shape, K))
    counts = rng.poisson(level * CHANNELS * abundance @ (spectra / spectra.sum(axis=1, keepdims=True)))
    if channels > 7 and counts[..., 0].size > 5:
        counts.reshape(-1, channels)[5] = 0
        counts[..., 7] = 0
    return counts.astype(np.uint16)


def cube(counts, chunks=None):
    ds = edxdask.from_array(counts, energy_offset=0.0, energy_scale=0.01)
    return ds if chunks is None else ds.chunk(chunks)


def start_of(pixels, channels=CHANNELS, seed=1):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.1, 1.0, (pixels, K)), rng.uniform(0.1, 1.0, (K, channels))


def factors_of(result):
    """Expected counts of each phase and pixel, and spectra: what no scale or order changes."""
    counts = (result.abundance.astype(np.float64) * result.total).values.reshape(K, -1)
    return counts.T, result.spectrum.values


def oracle(counts, start, loss, iterations):
    """scikit-learn's own factors in the same form."""
    flat = counts.reshape(-1, counts.shape[-1]).astype(np.float64)
    model = NMF(K, init="custom", solver="mu", beta_loss=SKLEARN[loss], max_iter=iterations, tol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it stops before it converged: it is told to
        abundance = model.fit_transform(flat, W=start[0].copy(), H=start[1].copy())
    sums = model.components_.sum(axis=1)
    order = np.argsort(-(abundance * sums).sum(axis=0))
    return (abundance * sums)[:, order], (model.components_ / sums[:, None])[order], model


def apart(ours, theirs):
    """Largest difference relative to the largest value, of abundances and of spectra."""
    return max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("loss", SKLEARN)
@pytest.mark.parametrize("iterations", [1, 10, 50])
def test_plain_updates_are_those_of_scikit_learn(iterations, loss, fill, precision):
    counts = counts_of(level=FILLS[fill])
    start = start_of(counts[..., 0].size)
    *theirs, _ = oracle(counts, start, loss, iterations)
    result = nmf(
        cube(counts, {"y": 4, "x": 6}), phases=K, loss=loss, init=start, max_iter=iterations, tol=0,
        accelerate=False, precision=precision, workers=2,
    )  # fmt: skip
    # rounding of 50 iterations; scikit-learn runs in double precision here
    assert apart(factors_of(result), theirs) < {"single": 1e-6, "double": 1e-12}[precision]
    assert result.iteration[-1] == iterations - 1


@pytest.mark.parametrize("loss", SKLEARN)
def test_the_objective_is_scikit_learns_loss_before_each_update(loss):
    counts = counts_of()
    start = start_of(counts[..., 0].size)
    result = nmf(
        cube(counts), phases=K, loss=loss, init=start, max_iter=9, tol=0, accelerate=False, precision="double"
    )
    *_, model = oracle(counts, start, loss, 8)
    # reconstruction_err_ is sqrt(2 · loss); the loss of iteration 9 is that of the factors after 8
    loss_then = result.objective.sel(iteration=8).item()
    assert loss_then == pytest.approx(model.reconstruction_err_**2 / 2, rel=1e-10)


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize("init", ["nndsvda", "random"])
@pytest.mark.parametrize("loss", SKLEARN)
def test_the_objective_never_rises(loss, init, accelerate, precision):
    result = nmf(
        cube(counts_of((20, 20))), phases=K, loss=loss, init=init, max_iter=300, tol=0,
        accelerate=accelerate, precision=precision,
    )  # fmt: skip
    objective = result.objective.values
    rise = np.diff(objective) / np.abs(objective[1:])
    # what is left is rounding in the evaluation of the objective (6e-8 of each of some thousand terms); least
    # squares in single precision is the small difference of two large sums
    assert rise.max() <= {"single": 5e-9 if loss == "kl" else 5e-7, "double": 5e-13}[precision]
    assert objective[-1] < objective[0]


@pytest.mark.parametrize("loss", SKLEARN)
def test_plain_updates_never_raise_the_objective_between_looks_either(loss):
    options = {"phases": K, "loss": loss, "tol": 0, "accelerate": False, "precision": "double"}
    ds = cube(counts_of((20, 20)))
    whole = nmf(ds, max_iter=24, **options).objective
    each = [nmf(ds, max_iter=n, **options).objective.values[-1] for n in range(1, 25)]
    assert whole.iteration.values.tolist() == ([0, 10, 20, 23] if loss == "kl" else list(range(24)))
    np.testing.assert_array_equal(whole, np.array(each)[whole.iteration])
    assert np.diff(each).max() < 0


def test_acceleration_comes_to_the_same_objective_in_half_the_rounds():
    ds = cube(counts_of((20, 20), level=0.3))
    plain, fast = (
        nmf(ds, phases=K, max_iter=300, tol=0, accelerate=a, precision="double").objective.values
        for a in (False, True)
    )
    assert fast[150] <= plain[-1]


@given(
    data=st.data(),
    workers=st.integers(1, 5),
    accelerate=st.booleans(),
    loss=st.sampled_from(["kl", "frobenius"]),
)
def test_results_do_not_depend_on_chunks_or_partitions(data, workers, accelerate, loss):
    counts = counts_of((17, 12), level=0.2)
    options = {"phases": K, "loss": loss, "max_iter": 40, "tol": 0, "accelerate": accelerate}
    whole = nmf(cube(counts), workers=1, **options)
    chunks = {
        "y": data.draw(splits(17), label="rows"),
        "x": data.draw(splits(12), label="columns"),
        "energy": data.draw(splits(CHANNELS), label="channels"),
    }
    parts = nmf(cube(counts, chunks), workers=workers, **options)
    assert apart(factors_of(parts), factors_of(whole)) < 1e-6
    np.testing.assert_allclose(parts.objective, whole.objective, rtol=1e-6)


@st.composite
def splits(draw, n):
    """Chunk sizes that add up to ``n``."""
    borders = sorted(draw(st.sets(st.integers(1, n - 1), max_size=5)))
    return tuple(np.diff([0, *borders, n]).tolist())


def test_chunks_with_and_without_full_channels_change_nothing():
    counts = counts_of((16, 12), level=0.05)
    counts[:4] += 1  # full rows: their blocks are dense when they are chunks of their own
    options = {"phases": K, "max_iter": 40, "tol": 0}
    whole = nmf(cube(counts, {"y": 16}), workers=1, **options)
    parts = nmf(cube(counts, {"y": 4}), workers=2, **options)
    assert apart(factors_of(parts), factors_of(whole)) < 1e-6


def test_single_precision_gives_the_results_of_double():
    ds = cube(counts_of((20, 20), level=0.3))
    single, double = (nmf(ds, phases=K, max_iter=100, tol=0, precision=p) for p in ("single", "double"))
    assert apart(factors_of(single), factors_of(double)) < 1e-5


def test_a_collection_of_one_map_is_the_map():
    ds = cube(counts_of())
    alone = nmf(ds, phases=K, max_iter=20, tol=0)
    tree = nmf(xr.DataTree.from_dict({"/a": ds}), phases=K, max_iter=20, tol=0)
    only = tree["a"].to_dataset(inherit=True)
    for name in ("abundance", "total"):
        xr.testing.assert_identical(only[name].drop_vars("energy", errors="ignore"), alone[name])
    for name in ("spectrum", "objective"):
        xr.testing.assert_identical(tree[name], alone[name])
    assert set(tree.children) == {"a"}


# In single precision, thirty accelerated rounds make 1e-6 of the order of sums where photons hardly decide.
@pytest.mark.parametrize(("precision", "close"), [("single", 1e-5), ("double", 1e-11)])
def test_a_collection_of_two_maps_is_the_maps_side_by_side(precision, close):
    counts = counts_of((12, 9), level=0.2)
    options = {"phases": K, "max_iter": 30, "tol": 0, "precision": precision}
    whole = nmf(cube(counts), **options)
    tree = nmf(xr.DataTree.from_dict({"/up": cube(counts[:5]), "/down": cube(counts[5:])}), **options)
    joined = np.concatenate([tree[name]["abundance"].values for name in ("up", "down")], axis=1)
    np.testing.assert_allclose(joined, whole.abundance, rtol=0, atol=close)
    np.testing.assert_allclose(tree["spectrum"], whole.spectrum, atol=close * float(whole.spectrum.max()))
    np.testing.assert_allclose(tree["objective"], whole.objective, rtol=close)


@pytest.mark.parametrize("extra", [(), (2,), (2, 3)])
def test_pixels_may_have_any_dimensions(extra):
    counts = counts_of((12, 9), level=0.2)
    options = {"phases": K, "max_iter": 30, "tol": 0}
    flat = nmf(cube(counts), **options)
    shape = (*extra, 12 // max(1, int(np.prod(extra))), 9)
    dims = (*("tilt", "frame")[: len(extra)], "y", "x", "energy")
    stacked = cube(counts).drop_vars(["y", "x"])
    folded = xr.Dataset(
        {"counts": (dims, counts.reshape(*shape, CHANNELS))}, coords={"energy": stacked.energy.variable}
    )
    result = nmf(folded, **options)
    assert result.abundance.dims == ("phase", *dims[:-1])
    assert apart(factors_of(result), factors_of(flat)) < 1e-6


def test_a_line_scan_is_a_cube():
    counts = counts_of((1, 40), level=0.5)
    folded = xr.Dataset(
        {"counts": (("x", "energy"), counts[0])}, coords={"energy": cube(counts).energy.variable}
    )
    options = {"phases": K, "max_iter": 30, "tol": 0}
    line = nmf(folded, **options)
    assert line.abundance.dims == ("phase", "x")
    assert apart(factors_of(line), factors_of(nmf(cube(counts), **options))) < 1e-6


@pytest.mark.parametrize("accelerate", [False, True])
def test_forbidden_entries_are_zero_and_fixed_ones_stay(accelerate):
    counts = counts_of(level=0.5)
    abundance, spectra = start_of(counts[..., 0].size)
    forbidden = np.zeros((K, CHANNELS), dtype=bool)
    forbidden[1, 30:45] = True
    fixed = np.array([False, False, True])
    result = nmf(
        cube(counts), phases=K, init=(abundance, spectra), forbidden=forbidden, fixed=fixed, max_iter=50,
        tol=0, accelerate=accelerate, precision="double",
    )  # fmt: skip
    shapes = result.spectrum.values
    kept = spectra[2] / spectra[2].sum()
    assert min(np.abs(row - kept).max() for row in shapes) < 1e-15
    assert sum(bool(np.all(row[30:45] == 0)) for row in shapes) == 1
    objective = result.objective.values
    assert np.all(np.diff(objective) <= 1e-12 * objective[1:])


def test_starts_differ_and_all_fit():
    ds = cube(counts_of((20, 20), level=0.5))
    runs = {init: nmf(ds, phases=K, init=init, max_iter=400, tol=0) for init in ("nndsvda", "random")}
    first = {name: run.objective.values[0] for name, run in runs.items()}
    last = [run.objective.values[-1] for run in runs.values()]
    assert last[0] == pytest.approx(last[1], rel=1e-3)
    again = nmf(ds, phases=K, init="random", max_iter=400, tol=0, workers=1)
    xr.testing.assert_identical(again["spectrum"], runs["random"]["spectrum"])
    other = nmf(ds, phases=K, init="random", max_iter=5, tol=0, seed=1)
    assert other.objective.values[0] != first["random"]


def test_the_start_of_nndsvda_is_that_of_scikit_learn():
    from sklearn.decomposition._nmf import _initialize_nmf

    counts = counts_of((20, 20), level=0.5)
    flat = counts.reshape(-1, CHANNELS).astype(np.float64)
    factors = _initialize_nmf(flat, K, init="nndsvd", random_state=0)
    # theirs fills only what is exactly zero; ours lifts all that is below the mean to it
    abundance, spectra = (np.maximum(part, flat.mean()) for part in factors)
    options = {"phases": K, "max_iter": 1, "tol": 0, "accelerate": False, "precision": "double"}
    ours, theirs = (nmf(cube(counts), init=init, **options) for init in ("nndsvda", (abundance, spectra)))
    # ours stops its power iterations at 1e-4 of the singular values: a start need not be exact
    assert float(ours.objective[0]) == pytest.approx(float(theirs.objective[0]), rel=1e-3)


def test_an_earlier_result_is_a_start():
    ds = cube(counts_of((20, 20), level=0.5))
    options = {"phases": K, "tol": 0, "accelerate": False, "precision": "double"}
    first = nmf(ds, max_iter=10, **options)
    second = nmf(ds, init=first, max_iter=10, **options)
    whole = nmf(ds, max_iter=20, **options)
    assert apart(factors_of(second), factors_of(whole)) < 1e-10
    assert np.all(np.diff([*first.objective.values, *second.objective.values]) <= 0)


def test_results_are_in_the_form_of_the_schema():
    counts = counts_of((15, 14), level=0.3)
    ds = cube(counts).assign_attrs(beam_energy_kev=200.0, history=["made up"])
    before = ds.copy(deep=True)
    result = nmf(ds, phases=K, max_iter=25, tol=0, seed=3)
    np.testing.assert_allclose(result.spectrum.sum("energy"), 1.0, rtol=1e-12)
    lit = result.total.values > 0
    np.testing.assert_allclose(result.abundance.sum("phase").values[lit], 1.0, rtol=1e-6)
    assert np.all(result.abundance.values[:, ~lit] == 0)
    sizes = (result.abundance * result.total).sum(("y", "x")).values
    assert np.all(np.diff(sizes) <= 0)
    assert list(result.phase.values) == ["phase_0", "phase_1", "phase_2"]
    assert result.attrs["seed"] == 3
    assert result.attrs["beam_energy_kev"] == 200.0
    assert result.attrs["history"][0] == "made up"
    assert result.attrs["history"][1].startswith("nmf(phases=3")
    xr.testing.assert_identical(ds, before)
    # KL keeps the photons of every channel that any phase may hold: totals are those of the data
    assert float(result.total.sum()) == pytest.approx(counts.sum(), rel=1e-2)


def test_a_tolerance_ends_the_run():
    ds = cube(counts_of((20, 20), level=0.5))
    result = nmf(ds, phases=K, tol=1e-4, max_iter=500)
    gains = -np.diff(result.objective.values) / result.objective.values[1:]
    assert result.sizes["iteration"] < 500
    assert np.all(gains[-3:] < 1e-4)


# --- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "channels"), [((2, 2), 60), ((20, 20), 4)])
def test_more_phases_than_pixels_or_channels_are_refused(shape, channels):
    ds = cube(counts_of(shape, level=2.0)[..., :channels] + np.uint16(1))
    with pytest.raises(ParameterError, match=r"phases=5: expected .* pixels \(\d+\) or channels \(\d+\)"):
        nmf(ds, phases=5)


@pytest.mark.parametrize("phases", [0, -1, 2.5, True, "three"])
def test_phases_must_be_a_whole_number(phases):
    with pytest.raises(ParameterError, match="phases="):
        nmf(cube(counts_of()), phases=phases)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"loss": "is"}, "loss"),
        ({"max_iter": 0}, "max_iter"),
        ({"tol": float("nan")}, "tol"),
        ({"precision": "half"}, "precision"),
        ({"init": "best"}, "init"),
        ({"init": (np.ones((3, 3)), np.ones((K, CHANNELS)))}, "init abundance"),
        ({"init": (np.ones((143, K)), np.full((K, CHANNELS), np.nan))}, "init spectra"),
        ({"fixed": [1, 0, 1]}, "fixed"),
        ({"forbidden": np.zeros((2, 2), bool)}, "forbidden"),
        ({"memory_limit": "much"}, "memory_limit"),
        ({"workers": 0}, "workers"),
    ],
)
def test_parameters_that_cannot_work_are_named(options, word):
    with pytest.raises(ParameterError, match=word):
        nmf(cube(counts_of()), phases=K, **options)


def test_a_cube_without_pixels_or_photons_is_refused():
    with pytest.raises(SchemaError, match="empty"):
        nmf(cube(counts_of()).isel(y=slice(0, 0)), phases=K)
    with pytest.raises(SchemaError, match="no photons"):
        nmf(cube(np.zeros((5, 5, 20), np.uint16)), phases=K)


@pytest.mark.parametrize("init", ["nndsvda", "random"])
@pytest.mark.parametrize("loss", SKLEARN)
def test_pixels_and_channels_without_photons_have_no_share(loss, init):
    counts = counts_of((15, 15), level=0.5)
    counts[4:6, 3] = 0
    counts[..., 40:] = 0
    result = nmf(cube(counts), phases=K, loss=loss, init=init, max_iter=100)
    assert np.isfinite(result.spectrum).all()
    assert np.isfinite(result.abundance).all()
    assert float(result.spectrum.isel(energy=slice(40, None)).max()) == 0
    assert float(result.total[4:6, 3].max()) == 0
    assert float(result.abundance[:, 4:6, 3].max()) == 0
    # the others are as if the empty channels had never been
    cropped = nmf(cube(counts[..., :40]), phases=K, loss=loss, init="random", max_iter=100)
    if init == "random":
        assert np.isfinite(cropped.objective).all()


def test_counts_that_are_not_whole_numbers_of_photons_are_refused():
    good = cube(counts_of())
    with pytest.raises(SchemaError, match="whole numbers"):
        nmf(good.assign(counts=good.counts * 0.5), phases=K)
    with pytest.raises(SchemaError, match="whole numbers"):
        nmf(good.assign(counts=good.counts.where(good.counts > 0)), phases=K)  # NaN
    signed = good.counts.astype(np.int32)
    signed[3, 2, 5] = -4
    for lazy in (signed, signed.chunk({"y": 4})):
        with pytest.raises(ParameterError, match=r"counts=-4: .* never negative"):
            nmf(good.assign(counts=lazy), phases=K)


@pytest.mark.parametrize("loss", SKLEARN)
def test_one_pixel_has_one_phase(loss):
    counts = counts_of((1, 1), level=2.0)
    counts[0, 0, 3] = 9
    result = nmf(cube(counts), phases=1, loss=loss, max_iter=50)
    np.testing.assert_allclose(result.spectrum[0], counts[0, 0] / counts.sum(), rtol=1e-5)
    assert float(result.total[0, 0]) == pytest.approx(counts.sum(), rel=1e-5)
    with pytest.raises(ParameterError, match="pixels"):
        nmf(cube(counts), phases=2)


@pytest.mark.parametrize("loss", SKLEARN)
def test_data_of_lower_rank_than_phases_are_fitted_all_the_same(loss):
    spectrum = np.minimum(counts_of((1, 1), level=5.0)[0, 0] + 1, 8)
    counts = np.outer(np.arange(1, 31), spectrum).astype(np.uint16).reshape(6, 5, CHANNELS)
    result = nmf(cube(counts), phases=K, loss=loss, max_iter=200)
    assert np.isfinite(result.spectrum).all()
    expected = (result.abundance * result.total).transpose("y", "x", "phase").values @ result.spectrum.values
    np.testing.assert_allclose(expected, counts, rtol=0.02)


def test_maps_of_different_energy_axes_are_refused_by_name():
    one, two = cube(counts_of()), edxdask.from_array(counts_of(), energy_offset=0.0, energy_scale=0.02)
    with pytest.raises(SchemaError, match=r"energy axis of map 'b' .* is not that of map 'a'"):
        nmf(xr.DataTree.from_dict({"/a": one, "/b": two}), phases=K)
    with pytest.raises(SchemaError, match=r"59 channels"):
        nmf(xr.DataTree.from_dict({"/a": one, "/b": one.isel(energy=slice(1, None))}), phases=K)
    with pytest.raises(SchemaError, match="without maps"):
        nmf(xr.DataTree.from_dict({"/a": xr.Dataset()}), phases=K)


def test_a_result_is_no_cube():
    result = nmf(cube(counts_of()), phases=K, max_iter=2)
    with pytest.raises(EdxdaskError, match="no variable 'counts'"):
        nmf(result, phases=K)


def test_long_runs_meet_no_numbers_that_processors_are_slow_with():
    ds = edxdask.simulate("mantle", shape=(24, 24), counts=120, channels=970, seed=0).compute()
    found = edxdask.nmf(ds, phases=3, accelerate=False, tol=0, max_iter=600)
    abundance = found.abundance.values
    assert abundance.dtype == np.float32
    assert np.any(abundance < 1e-20)
    assert not np.any((abundance > 0) & (abundance < 1e-22))
    np.testing.assert_allclose(found.abundance.sum("phase"), 1, rtol=1e-5)


def test_the_usual_start_does_not_drown_many_counts():
    counts = counts_of((20, 20), level=0.5) * 100
    options = {"phases": K, "max_iter": 30, "tol": 0, "accelerate": False, "precision": "double"}
    usual, drowned = (nmf(cube(counts), init=init, **options) for init in (None, "nndsvda"))
    assert float(usual.objective[-1]) < float(drowned.objective[-1])
