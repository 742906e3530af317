"""Masks of precipitates: five methods, the user's own, and what is refused."""

import itertools

import imagecodecs
import numpy as np
import pytest
import tifffile
import xarray as xr

from edxdask.errors import MissingDependencyError, MissingStoreError, ParameterError
from edxdask.unmix.masks import METHODS, plan_masks
from edxdask.unmix.masks_abundance import abundance_rule, otsu_level
from edxdask.unmix.masks_potts import log_ratios, potts_mask, precipitate_mask
from edxdask.unmix.masks_user import user_mask

SHAPE = (6, 8)
BOTH = ("Fp", "CaPv")


def cube(shape=SHAPE):
    counts = np.ones((*shape, 3), "u2")
    return xr.Dataset({"counts": (("y", "x", "energy"), counts)}, {"energy": [0.5, 0.6, 0.7]})


def drawn():
    mask = np.zeros(SHAPE, bool)
    mask[1:4, 2:5] = True
    return mask


def penalised(mask, ratios, border):
    """What a Potts cut makes as small as possible."""
    total = -(ratios * mask).sum()
    rows, columns = mask.shape
    for (y, x), (v, w) in itertools.combinations(itertools.product(range(rows), range(columns)), 2):
        apart = max(abs(y - v), abs(x - w))
        if apart == 1 and mask[y, x] != mask[v, w]:
            total += border if abs(y - v) + abs(x - w) == 1 else border / np.sqrt(2)
    return total


@pytest.mark.parametrize("seed", range(4))
def test_the_potts_cut_is_the_best_of_all_masks(seed):
    pytest.importorskip("maxflow")
    ratios = np.random.default_rng(seed).normal(0, 2, (3, 4))
    every = (np.array(bits).reshape(3, 4) for bits in itertools.product([0, 1], repeat=12))
    best = min(penalised(mask, ratios, 0.4) for mask in every)
    assert penalised(potts_mask(ratios, 0.4).astype(int), ratios, 0.4) == pytest.approx(best)


def test_ratios_are_those_of_a_mixture_with_a_tenth_of_the_precipitate():
    rng = np.random.default_rng(0)
    matrix, other = (one / one.sum() for one in rng.random((2, 40)))
    counts = rng.poisson(5 * matrix)
    mixed = 0.9 * matrix + 0.1 * other
    expected = np.sum(counts * np.log(mixed)) - np.sum(counts * np.log(matrix))
    assert counts @ log_ratios(matrix, other[None])[0] == pytest.approx(expected)


def test_the_cut_is_smoother_than_the_sign_of_the_ratios_and_misses_less():
    pytest.importorskip("maxflow")
    y, x = np.mgrid[:60, :60]
    truth = (y - 30) ** 2 + (x - 25) ** 2 < 200
    ratios = np.random.default_rng(1).normal(np.where(truth, 2.0, -2.0), 2.5)
    wrong = np.count_nonzero(potts_mask(ratios) != truth)
    assert wrong < 0.1 * np.count_nonzero((ratios > 0) != truth)


def test_small_grains_of_which_each_pixel_says_little_do_not_become_one_mask():
    """As in a superalloy: half of the pixels speak against a mask, softly."""
    pytest.importorskip("maxflow")
    y, x = np.mgrid[:60, :60]
    truth = (y % 10 < 7) & (x % 10 < 7)
    ratios = np.random.default_rng(1).normal(np.where(truth, 4.0, -0.9), 0.4)
    assert potts_mask(ratios).all()
    assert np.count_nonzero(precipitate_mask(ratios) != truth) < 0.05 * truth.size
    assert precipitate_mask(ratios + 3).all()  # nothing speaks against it


@pytest.mark.parametrize("method", ["threshold", "otsu", "kmeans", "grabcut"])
def test_masks_of_abundances_find_grains_above_noise(method):
    if method == "grabcut":
        pytest.importorskip("cv2")
    y, x = np.mgrid[:60, :60]
    one, two = ((y - 20) ** 2 + (x - 25) ** 2 < 100), ((y - 45) ** 2 + (x - 40) ** 2 < 30)
    grains = np.stack([0.6 * one, 0.5 * two])
    noise = np.random.default_rng(0).normal(0, 0.02, (3, 60, 60))
    fractions = np.concatenate([1 - grains.sum(axis=0, keepdims=True), grains]) + noise
    for row, truth in ((1, one), (2, two)):
        found = abundance_rule(method, row, [fractions])(fractions)
        assert np.count_nonzero(found != truth) <= 2
        again = abundance_rule(method, row, [fractions])(fractions)
        assert (found == again).all()


def test_a_map_without_a_precipitate_gets_no_mask_of_its_noise():
    """The rule follows from all maps."""
    rng = np.random.default_rng(0)
    grain = np.zeros((40, 40))
    grain[10:20, 10:20] = 0.6
    maps = [
        np.stack([1 - one, one]) for one in (grain + rng.random((40, 40)) * 0.05, rng.random((40, 40)) * 0.05)
    ]
    for method in ("otsu", "kmeans"):
        rule = abundance_rule(method, 1, maps)
        assert rule(maps[0]).sum() == 100
        assert rule(maps[1]).sum() == 0


def test_otsu_divides_as_an_exhaustive_search_does():
    values = np.concatenate(
        [np.random.default_rng(2).beta(2, 20, 900), np.random.default_rng(3).beta(9, 6, 100)]
    )

    def within(level):
        parts = [values[values <= level], values[values > level]]
        return sum(part.size * part.var() for part in parts if part.size)

    best = min(np.linspace(0.01, 0.99, 400), key=within)
    assert otsu_level([values[:500], values[500:]]) == pytest.approx(best, abs=0.02)


def write(path, values):
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".png":
        path.write_bytes(imagecodecs.png_encode(values))
    else:
        tifffile.imwrite(path, values)
    return path


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("bool.npy", drawn()),
        ("float.npy", drawn() * 0.25),
        ("grey.png", drawn().astype("u1") * 255),
        ("grey16.png", drawn().astype("u2") * 60000),
        ("colour.png", np.repeat(drawn()[..., None].astype("u1") * 255, 3, axis=2)),
        ("red.png", drawn()[..., None] * np.array([255, 0, 0], "u1")),
        (
            "opaque.png",
            np.dstack([np.repeat(drawn()[..., None] * 255, 3, axis=2), np.full(SHAPE, 255)]).astype("u1"),
        ),
        ("labels.tif", drawn().astype("u2")),
        ("black.tiff", drawn().astype("u1") * 255),
    ],
)
def test_masks_are_read_from_pictures_and_arrays(tmp_path, name, values):
    path = write(tmp_path / name, values)
    assert (user_mask(path, cube(), name="m") == drawn()).all()
    if values.ndim == 2:
        assert (user_mask(values, cube(), name="m") == drawn()).all()
        turned = xr.DataArray(values, dims=("y", "x")).transpose("x", "y")
        assert (user_mask(turned, cube(), name="m") == drawn()).all()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (
            np.ones((6, 9), bool),
            r"an array of shape \(6, 9\)': expected the shape \(y, x\) of the map, \(6, 8\)",
        ),
        (np.ones(8, bool), r"shape \(8,\)"),
        (np.zeros(SHAPE), "no pixel inside"),
        (np.ones(SHAPE), "all pixels inside"),
        (np.arange(48).reshape(SHAPE), "48 kinds of values.*expected two.*black outside, white inside"),
        (np.where(drawn(), np.nan, 0.0), "finite"),
        (drawn().astype(str), "true and false"),
        ("mask.jpg", "a file of .png"),
    ],
)
def test_masks_that_cannot_be_are_refused_by_name(value, says):
    with pytest.raises(ParameterError, match=says) as raised:
        user_mask(value, cube(), name="user_masks['Fp']")
    assert "user_masks['Fp']" in str(raised.value)


def test_a_file_that_is_missing_or_no_picture_is_said(tmp_path):
    with pytest.raises(MissingStoreError, match="no such file, and a mask was expected"):
        user_mask(tmp_path / "nothing.png", cube(), name="m")
    for suffix in ("png", "tif", "npy"):
        (tmp_path / f"text.{suffix}").write_text("this is no picture")
        with pytest.raises(ParameterError, match="a picture that can be read"):
            user_mask(tmp_path / f"text.{suffix}", cube(), name="m")


def test_each_precipitate_may_have_its_own_method():
    plan = plan_masks(cube(), BOTH, {"CaPv": "threshold"}, {"Fp": drawn()})
    assert plan.text == ["Fp: user", "CaPv: threshold"]
    fractions = np.stack([np.full(SHAPE, 0.7), np.full(SHAPE, 0.1), np.where(drawn(), 0.0, 0.3)])
    rules = plan.rules(("Brg", *BOTH), [fractions], 0.2)
    regions = plan.regions("", rules, fractions, {})
    assert regions.phases == BOTH
    assert (regions.masks == np.stack([drawn(), ~drawn()])).all()


@pytest.mark.parametrize(
    ("masks", "drawn_by_user", "says"),
    [
        ("watershed", None, "masks='watershed': expected one of potts, threshold, otsu, kmeans, grabcut"),
        ({"Fp": "otsu"}, None, "'CaPv' has none.*masks={'CaPv': 'otsu'}, or draw it: user_masks={'CaPv'"),
        ({"Fp": "otsu", "Mgw": "otsu"}, None, "masks='Mgw': expected one of the precipitates, 'Fp', 'CaPv'"),
        ("otsu", {"Brg": drawn()}, "user_masks='Brg'"),
        ({"Fp": "user", "CaPv": "otsu"}, None, "masks='user'"),
    ],
)
def test_plans_with_gaps_or_unknown_names_are_refused(masks, drawn_by_user, says):
    with pytest.raises(ParameterError, match=says):
        plan_masks(cube(), BOTH, masks, drawn_by_user)


def test_masks_of_a_collection_go_by_map():
    tree = xr.DataTree.from_dict({"a": cube(), "b": cube((4, 5))})
    small = np.eye(4, 5, dtype=bool)
    plan = plan_masks(tree, ["Fp"], {}, {"Fp": {"a": drawn(), "b": small}})
    assert (plan.regions("b", {}, None, {}).masks[0] == small).all()
    with pytest.raises(ParameterError, match=r"user_masks\['Fp'\]\['b'\].*the map, \(4, 5\)"):
        plan_masks(tree, ["Fp"], {}, {"Fp": drawn()})
    with pytest.raises(ParameterError, match=r"one .* for each map"):
        plan_masks(tree, ["Fp"], {}, {"Fp": {"a": drawn()}})


def test_masks_without_a_pixel_or_without_matrix_are_refused():
    plan = plan_masks(cube(), ["Fp"], "threshold", None)
    for level, says in (
        (0.9, "a mask of 'Fp' with pixels; it has none"),
        (0.05, "pixels in no mask: the matrix"),
    ):
        fractions = np.stack([np.full(SHAPE, 0.5), np.full(SHAPE, 0.5)])
        regions = plan.regions("", plan.rules(("Brg", "Fp"), [fractions], level), fractions, {})
        with pytest.raises(ParameterError, match=says):
            plan.check({"": regions})


@pytest.mark.parametrize(("method", "module"), [("potts", "maxflow"), ("grabcut", "cv2")])
def test_a_missing_package_is_said_before_any_work(monkeypatch, method, module):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edxdask\[masks\]'"):
        plan_masks(cube(), BOTH, method, None)


def test_the_methods_are_those_of_the_documentation():
    import edxdask

    assert all(f'"{method}"' in edxdask.aided.__doc__ for method in METHODS)
