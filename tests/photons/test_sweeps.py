"""Sweeps against scikit-learn, and against themselves: any partition, any precision, sparse or dense."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import NMF

from edxdask.errors import ParameterError
from edxdask.photons import (
    LEAST_DENSE_FILL,
    PhotonBlock,
    Sweep,
    SweepBlock,
    as_photons,
    back_project,
    entropy_term,
    for_sweeps,
    frobenius_sweep,
    from_dense,
    hold_dense,
    kl_sweep,
    likelihood_model,
    project,
    squares,
    to_dense,
)
from edxdask.photons.sweep_statistics import least_of


def counts_and_start(
    pixels: int, channels: int, phases: int, mean: float, *, seed: int = 0, dtype: str = "float64"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Poisson counts of a random model, and positive factors to start from."""
    rng = np.random.default_rng(seed)
    truth = rng.dirichlet(np.full(channels, 0.2), size=phases)
    share = rng.dirichlet(np.full(phases, 0.5), size=pixels)
    counts = rng.poisson(mean * share @ truth).astype(np.uint16)
    abundance = (rng.random((pixels, phases)) + 0.1) * mean / phases
    spectra = rng.random((phases, channels)) + 0.1
    spectra /= spectra.sum(axis=1, keepdims=True)
    return counts, abundance.astype(dtype), spectra.astype(dtype)


FORMS = ["photons", "mixed", "dense"]


def rarely(*values):
    """Parameters that take seconds to compile for, and differ from the usual ones in nothing but numbers."""
    return (pytest.param(*(v if isinstance(v, tuple) else (v,)), marks=pytest.mark.slow) for v in values)


def as_block(counts: np.ndarray, form: str) -> PhotonBlock | SweepBlock:
    """Photons only, every third channel dense, or all of them."""
    held = {"photons": [], "mixed": np.arange(1, counts.shape[1], 3), "dense": np.arange(counts.shape[1])}
    return hold_dense(from_dense(counts), np.asarray(held[form], dtype=np.intp))


def kl_iterate(block, abundance, spectra, iterations, **options):
    """Full multiplicative iterations; returns factors and the loss before each."""
    abundance, spectra, losses = abundance.copy(), spectra.copy(), []
    entropy = entropy_term(block)
    for _ in range(iterations):
        sweep = kl_sweep(block, abundance, spectra, **options)
        losses.append(sweep.loss_entry(spectra, entropy))
        total = np.where(sweep.column_sums == 0, 1.0, sweep.column_sums)
        spectra = (spectra * (sweep.numerator / total[:, None])).astype(spectra.dtype)
    return abundance, spectra, np.array(losses)


def frobenius_iterate(block, abundance, spectra, iterations):
    abundance, spectra, losses = abundance.copy(), spectra.copy(), []
    for _ in range(iterations):
        sweep = frobenius_sweep(block, abundance, spectra)
        losses.append(sweep.loss_entry)
        below = sweep.gram @ spectra
        spectra = spectra * (sweep.numerator / np.where(below == 0, np.finfo("f4").eps, below))
    return abundance, spectra, np.array(losses)


def sklearn_mu(counts, abundance, spectra, iterations, loss):
    model = NMF(
        n_components=spectra.shape[0], init="custom", solver="mu", beta_loss=loss, max_iter=iterations, tol=0
    )
    found = model.fit_transform(counts.astype(np.float64), W=abundance.copy(), H=spectra.copy())
    return found, model.components_, model.reconstruction_err_


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("iterations", [1, 10, 50])
@pytest.mark.parametrize("loss", ["kullback-leibler", "frobenius"])
def test_sweeps_equal_scikit_learn_from_the_same_start(loss, iterations, form):
    counts, abundance, spectra = counts_and_start(61, 83, 3, 60)
    counts[7] = 0
    counts[:, 11] = 0
    block = as_block(counts, form)
    iterate = kl_iterate if loss == "kullback-leibler" else frobenius_iterate
    found_abundance, found_spectra, _ = iterate(block, abundance, spectra, iterations)
    their_abundance, their_spectra, _ = sklearn_mu(counts, abundance, spectra, iterations, loss)
    scale = their_abundance.max(), their_spectra.max()
    np.testing.assert_allclose(found_abundance, their_abundance, rtol=1e-6, atol=1e-9 * scale[0])
    np.testing.assert_allclose(found_spectra, their_spectra, rtol=1e-6, atol=1e-9 * scale[1])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("loss", ["kullback-leibler", "frobenius"])
def test_loss_on_entry_is_the_divergence_scikit_learn_reports(loss, form):
    counts, abundance, spectra = counts_and_start(40, 70, 3, 90)
    their_abundance, their_spectra, error = sklearn_mu(counts, abundance, spectra, 5, loss)
    iterate = kl_iterate if loss == "kullback-leibler" else frobenius_iterate
    *_, losses = iterate(as_block(counts, form), their_abundance, their_spectra, 1)
    assert losses[0] == pytest.approx(error**2 / 2, rel=1e-10)  # error = sqrt(2 divergence)


@pytest.mark.parametrize("options", [{}, {"inner": 3}])
@pytest.mark.parametrize("form", FORMS)
def test_kullback_leibler_never_rises(form, options):
    counts, abundance, spectra = counts_and_start(80, 120, 3, 50, seed=2)
    *_, losses = kl_iterate(as_block(counts, form), abundance, spectra, 60, **options)
    assert np.all(np.diff(losses) <= 1e-12 * losses[0])
    assert losses[-1] < 0.9 * losses[0]


def test_frobenius_never_rises():
    counts, abundance, spectra = counts_and_start(80, 120, 3, 50, seed=2)
    *_, losses = frobenius_iterate(from_dense(counts), abundance, spectra, 60)
    assert np.all(np.diff(losses) <= 1e-12 * losses[0])


def test_counts_are_conserved_by_the_update():
    counts, abundance, spectra = counts_and_start(50, 64, 3, 40, seed=1)
    kl_sweep(from_dense(counts), abundance, spectra)
    np.testing.assert_allclose(abundance.sum(axis=1), counts.sum(axis=1), rtol=1e-12)


# every number of lanes, few compilations
WIDTHS = [(k, "float32") for k in (1, 4, 8, 16, 32)] + [(k, "float64") for k in (2, 5, 13, 32)]


@pytest.mark.parametrize(("phases", "dtype"), [(3, "float32"), (3, "float64"), *rarely(*WIDTHS)])
def test_every_width_and_precision_equals_dense_algebra(phases, dtype):
    counts, abundance, spectra = counts_and_start(37, 90, phases, 80, seed=phases, dtype=dtype)
    tolerance = 2e-5 if dtype == "float32" else 1e-12  # about 100 roundings of 6e-8
    wide_a, wide_s = abundance.astype("f8"), spectra.astype("f8")
    sums = wide_s.sum(axis=1)
    after = wide_a * ((counts / (wide_a @ wide_s)) @ wide_s.T) / sums
    numerator = after.T @ (counts / (after @ wide_s))
    log_term = np.sum(counts * np.log(wide_a @ wide_s))
    for form in FORMS:
        mine = abundance.copy()
        sweep = kl_sweep(as_block(counts, form), mine, spectra)
        np.testing.assert_allclose(mine, after, rtol=tolerance)
        np.testing.assert_allclose(sweep.numerator, numerator, rtol=tolerance)
        np.testing.assert_allclose(sweep.column_sums, after.sum(axis=0), rtol=tolerance)
        np.testing.assert_allclose(sweep.column_sums_entry, wide_a.sum(axis=0), rtol=tolerance)
        assert sweep.log_term == pytest.approx(log_term, rel=tolerance)
        assert sweep.numerator.dtype == np.float64


@pytest.mark.parametrize("form", FORMS)
def test_statistics_of_pieces_add_up_to_those_of_the_whole(form):
    counts, abundance, spectra = counts_and_start(2000, 64, 3, 30, seed=5)
    whole_abundance = abundance.copy()
    whole = kl_sweep(as_block(counts, form), whole_abundance, spectra)
    pieces: list[Sweep] = []
    for piece in (slice(0, 1), slice(1, 700), slice(700, 701), slice(701, 2000)):
        pieces.append(kl_sweep(as_block(counts[piece], form), abundance[piece], spectra))
    total = pieces[0] + pieces[1] + pieces[2] + pieces[3]
    np.testing.assert_array_equal(abundance, whole_abundance)
    np.testing.assert_allclose(total.numerator, whole.numerator, rtol=1e-12)
    np.testing.assert_allclose(total.column_sums, whole.column_sums, rtol=1e-12)
    assert total.log_term == pytest.approx(whole.log_term, rel=1e-12)


def test_single_precision_statistics_do_not_depend_on_the_partition():
    counts, abundance, spectra = counts_and_start(3000, 64, 3, 40, seed=6, dtype="float32")
    whole = kl_sweep(from_dense(counts), abundance.copy(), spectra)
    halves = [kl_sweep(from_dense(counts[s]), abundance[s].copy(), spectra) for s in np.s_[:1111, 1111:]]
    # sums over a tile of pixels are single for channels held dense, all others double
    np.testing.assert_allclose((halves[0] + halves[1]).numerator, whole.numerator, rtol=1e-7)


def test_frobenius_statistics_of_pieces_add_up():
    counts, abundance, spectra = counts_and_start(500, 64, 3, 30, seed=5)
    whole = frobenius_sweep(from_dense(counts), abundance.copy(), spectra)
    halves = [frobenius_sweep(from_dense(counts[s]), abundance[s].copy(), spectra) for s in np.s_[:99, 99:]]
    total = halves[0] + halves[1]
    np.testing.assert_allclose(total.numerator, whole.numerator, rtol=1e-12)
    np.testing.assert_allclose(total.gram, whole.gram, rtol=1e-12)
    assert total.loss_entry == pytest.approx(whole.loss_entry, rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_single_precision_stays_close_to_double(form):
    counts, abundance, spectra = counts_and_start(300, 128, 3, 100, seed=7)
    double = kl_iterate(as_block(counts, form), abundance, spectra, 10)
    single = kl_iterate(as_block(counts, form), abundance.astype("f4"), spectra.astype("f4"), 10)
    np.testing.assert_allclose(single[2], double[2], rtol=1e-5)
    np.testing.assert_allclose(single[1], double[1], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("sweep", [kl_sweep, frobenius_sweep])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count_dtype", ["uint8", *rarely("uint16", "uint32")])
def test_all_forms_of_a_block_give_the_same_answers(sweep, dtype, count_dtype):
    counts, abundance, spectra = counts_and_start(553, 97, 3, 150, seed=8, dtype=dtype)
    counts = counts.astype(np.uint32)
    counts[0, 5] = np.iinfo(count_dtype).max
    mine = abundance.copy()
    tolerance = 1e-5 if dtype == "float32" else 1e-11
    one = sweep(from_dense(counts), mine, spectra, inner=2)
    for form in FORMS:
        block = as_block(counts, form)
        assert block.arrays.counts.dtype == ("uint8" if count_dtype == "uint8" else "uint32")
        theirs = abundance.copy()
        other = sweep(block, theirs, spectra, inner=2)
        np.testing.assert_allclose(theirs, mine, rtol=tolerance)
        np.testing.assert_allclose(other.numerator, one.numerator, rtol=tolerance)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scale", [300, 70000])
def test_large_counts_enter_the_logarithm_exactly(form, scale):
    counts, abundance, spectra = counts_and_start(19, 33, 3, 20, seed=3)
    counts = counts.astype(np.uint32) * scale
    sweep = kl_sweep(as_block(counts, form), abundance, spectra, update_abundance=False)
    expected = np.sum(counts * np.log(abundance @ spectra))
    assert sweep.log_term == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_extreme_fits_neither_overflow_nor_vanish(form):
    counts = np.full((3, 700), 3, dtype=np.uint16)
    for scale in (1e-6, 1e9):
        abundance, spectra = np.full((3, 3), scale / 3), np.full((3, 700), 1.0)
        sweep = kl_sweep(as_block(counts, form), abundance, spectra, update_abundance=False)
        assert sweep.log_term == pytest.approx(counts.sum() * np.log(scale), rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_a_fit_of_zero_under_a_count_is_clamped_not_nan(form):
    counts = np.array([[3, 1, 0], [0, 2, 5]], dtype=np.uint16)
    abundance = np.array([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0]])
    spectra = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.0, 0.5, 0.5]])
    sweep = kl_sweep(as_block(counts, form), abundance, spectra)
    assert np.isfinite(sweep.numerator).all()
    assert np.isfinite(sweep.log_term)
    assert np.array_equal(abundance[0], [0, 0, 0])


@pytest.mark.parametrize("sweep", [kl_sweep, frobenius_sweep])
@pytest.mark.parametrize("form", FORMS)
def test_zeros_stay_zero_and_frozen_phases_stay(sweep, form):
    counts, abundance, spectra = counts_and_start(30, 40, 3, 30, seed=4)
    abundance[::2, 1] = 0
    before = abundance.copy()
    sweep(as_block(counts, form), abundance, spectra, frozen=np.array([False, False, True]))
    assert np.all(abundance[::2, 1] == 0)
    np.testing.assert_array_equal(abundance[:, 2], before[:, 2])
    assert np.all(abundance[1::2, 0] != before[1::2, 0])


@pytest.mark.parametrize("sweep", [kl_sweep, frobenius_sweep])
@pytest.mark.parametrize("form", FORMS)
def test_inner_updates_equal_that_many_sweeps_with_fixed_spectra(sweep, form):
    counts, abundance, spectra = counts_and_start(30, 40, 3, 30, seed=4)
    once, thrice = abundance.copy(), abundance.copy()
    block = as_block(counts, form)
    stats = sweep(block, thrice, spectra, inner=3)
    for _ in range(3):
        last = sweep(block, once, spectra)
    np.testing.assert_allclose(thrice, once, rtol=1e-13)
    np.testing.assert_allclose(stats.numerator, last.numerator, rtol=1e-12)


@pytest.mark.parametrize("sweep", [kl_sweep, frobenius_sweep])
@pytest.mark.parametrize("form", FORMS)
def test_what_is_not_asked_for_is_not_done(sweep, form):
    counts, abundance, spectra = counts_and_start(30, 40, 3, 30, seed=4)
    before = abundance.copy()
    block = as_block(counts, form)
    fixed = sweep(block, abundance, spectra, update_abundance=False)
    np.testing.assert_array_equal(abundance, before)
    assert fixed.numerator.shape == (3, 40)
    assert sweep(block, abundance, spectra, spectra_statistics=False).numerator.shape == (3, 0)
    assert not np.array_equal(abundance, before)


@pytest.mark.parametrize("form", FORMS)
def test_empty_pixels_end_at_zero_and_empty_blocks_work(form):
    counts, abundance, spectra = counts_and_start(6, 20, 3, 30)
    counts[2:4] = 0
    kl_sweep(as_block(counts, form), abundance, spectra)
    assert np.all(abundance[2:4] == 0)
    nothing = np.zeros((600, 20), dtype=np.uint16)
    start = np.ones((600, 3))
    sweep = kl_sweep(as_block(nothing, form), start, spectra)
    assert (sweep.log_term, sweep.numerator.sum(), start.sum()) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("form", FORMS)
def test_one_pixel_with_more_photons_than_a_tile(form):
    counts, abundance, spectra = counts_and_start(1, 5000, 3, 40000, seed=9)
    expected = abundance * ((counts / (abundance @ spectra)) @ spectra.T)
    kl_sweep(as_block(counts, form), abundance, spectra)
    np.testing.assert_allclose(abundance, expected, rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("width", [3, *rarely(1, 17, 32)])
def test_products_with_narrow_matrices_equal_those_of_the_dense_counts(form, width):
    counts, *_ = counts_and_start(45, 60, 2, 90)
    rng = np.random.default_rng(0)
    basis, values = rng.normal(size=(60, width)), rng.normal(size=(45, width))
    block = as_block(counts, form)
    np.testing.assert_allclose(project(block, basis), counts @ basis, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(back_project(block, values), counts.T @ values, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("scale", [1, 300, 70000])
def test_entropy_is_that_of_the_counts(scale):
    counts = counts_and_start(20, 30, 2, 90)[0].astype(np.uint32) * scale
    filled = counts[counts > 0].astype(float)
    for form in FORMS:
        found = entropy_term(as_block(counts, form))
        assert found == pytest.approx(np.sum(filled * np.log(filled) - filled), rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-5), ("float64", 1e-10)])
@pytest.mark.parametrize("phases", [3, *rarely(1, 2, 5, 12)])  # 12 have more curvatures than one pass takes
def test_slopes_and_curvatures_equal_dense_algebra(phases, dtype, tolerance, form):
    rng = np.random.default_rng(phases)
    spectra = rng.dirichlet(np.ones(70), size=phases).astype(dtype)
    fraction = rng.dirichlet(np.ones(phases), size=300).astype(dtype)
    expected = fraction.astype("f8") @ spectra.astype("f8")
    counts = rng.poisson(80 * expected).astype(np.uint16)
    slopes, curvatures, log_term = likelihood_model(as_block(counts, form), fraction, spectra)
    np.testing.assert_allclose(slopes, (counts / expected) @ spectra.T, rtol=tolerance)
    above = (spectra[:-1] - spectra[-1:]).astype("f8")
    rows, columns = np.tril_indices(phases - 1) if phases > 1 else (np.empty(0, int),) * 2
    exact = (counts / expected**2) @ (above[rows] * above[columns]).T
    np.testing.assert_allclose(curvatures, exact, rtol=0, atol=tolerance * abs(exact).max(initial=1))
    assert log_term == pytest.approx(np.sum(counts * np.log(expected)), rel=tolerance)


def test_only_channels_that_are_filled_are_held_dense():
    counts = np.zeros((160, 9), dtype=np.uint16)
    counts[: int(160 * LEAST_DENSE_FILL), 4] = 7
    assert for_sweeps(from_dense(counts)).dense_channels.size == 0
    counts[: int(160 * LEAST_DENSE_FILL) + 1, 6] = 300
    assert for_sweeps(from_dense(counts)).dense_channels.tolist() == [6]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pixels", [1, 16, 257, 700])
def test_blocks_for_sweeps_hold_what_they_were_made_of(form, pixels):
    counts = counts_and_start(pixels, 50, 3, 60, seed=pixels)[0]
    counts[pixels // 2] = 0
    whole, block = from_dense(counts), as_block(counts, form)
    assert (block.pixels, block.channels) == (whole.pixels, whole.channels)
    assert (block.total, block.nonzeros) == (whole.total, whole.nonzeros)
    assert squares(block) == squares(whole) == (counts.astype(float) ** 2).sum()
    np.testing.assert_array_equal(to_dense(as_photons(block)), counts)
    for some in (slice(0, 1), slice(pixels // 3, None), slice(5, 5)):
        np.testing.assert_array_equal(to_dense(as_photons(block, some)), counts[some])
        np.testing.assert_array_equal(to_dense(as_photons(whole, some)), counts[some])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"abundance": np.ones((4, 2), dtype=np.int64)}, "abundance"),
        ({"abundance": np.asfortranarray(np.ones((4, 2)))}, "C-contiguous"),
        ({"abundance": np.ones((5, 2))}, "pixels first"),
        ({"spectra": np.ones((2, 6), dtype=np.float32)}, "spectra"),
        ({"spectra": np.ones((2, 7))}, "spectra"),
        ({"spectra": np.ones((33, 6)), "abundance": np.ones((4, 33))}, "1 to 32"),
        ({"abundance": np.broadcast_to(np.ones((4, 2)), (4, 2))}, "read-only"),
        ({"inner": 0}, "inner"),
        ({"frozen": np.zeros(3, dtype=bool)}, "frozen"),
    ],
)
def test_what_the_kernels_cannot_take_is_refused_by_name(change, message):
    options = {"abundance": np.ones((4, 2)), "spectra": np.ones((2, 6)), **change}
    block = from_dense(np.ones((4, 6), dtype=np.uint16))
    for sweep in (kl_sweep, frobenius_sweep):
        with pytest.raises(ParameterError, match=message):
            sweep(block, options.pop("abundance"), options.pop("spectra"), **options)
        options = {"abundance": np.ones((4, 2)), "spectra": np.ones((2, 6)), **change}


def test_narrow_products_refuse_wrong_shapes():
    block = from_dense(np.ones((4, 6), dtype=np.uint16))
    with pytest.raises(ParameterError, match="basis"):
        project(block, np.ones((4, 2)))
    with pytest.raises(ParameterError, match="values"):
        back_project(block, np.ones((4, 2), dtype=np.int64))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_pixel_gets_the_same_to_the_last_bit_whoever_its_neighbours_are(dtype):
    """Strips are sorted among 256 pixels; a bright pixel has several."""
    rng = np.random.default_rng(4)
    counts = rng.poisson(0.02, (700, 400)).astype(np.uint16)
    counts[[3, 255, 300]] = rng.poisson(2.0, (3, 400))
    full = np.array([5, 17])
    whole = hold_dense(from_dense(counts), full)
    spectra = rng.uniform(0.5, 1.5, (3, 400)).astype(dtype)
    start = rng.uniform(0.5, 1.5, (700, 3)).astype(dtype)
    together = start.copy()
    kl_sweep(whole, together, spectra)
    for some in (slice(0, 4), slice(250, 301), slice(299, 700)):
        alone = start[some].copy()
        kl_sweep(hold_dense(as_photons(whole, some), full), alone, spectra)
        np.testing.assert_array_equal(alone, together[some])


@pytest.mark.parametrize("sweep", [kl_sweep, frobenius_sweep])
@pytest.mark.parametrize(("dtype", "tiny"), [("f4", 1e-21), ("f8", 1e-170)])
def test_no_abundance_falls_so_low_that_products_are_no_normal_numbers(sweep, dtype, tiny):
    """A processor would take ten times as long over them; zeros stay, which forbid."""
    counts, abundance, spectra = counts_and_start(300, 60, 3, 20.0, dtype=dtype)
    start = abundance.copy()
    start[::2, 0] = start[::3, 2] = tiny
    start[1::10, 1] = 0
    for scale in (1.0, 1e-6):  # what counts is how many counts a phase gives, not how it is scaled
        scaled, before = (spectra * scale).astype(dtype), (start / scale).astype(dtype)
        after = before.copy()
        sweep(as_block(counts, "mixed"), after, scaled, frozen=np.array([False, False, True]))
        least = least_of(np.dtype(dtype)) / scaled.sum(axis=1, dtype=np.float64)
        np.testing.assert_allclose(after[::2, 0], least[0], rtol=1e-5)
        np.testing.assert_array_equal(after[:, 2], before[:, 2])
        np.testing.assert_array_equal(after[1::10, 1], 0)
        assert np.all(after[1::2, 0] > 1e6 * least[0])
