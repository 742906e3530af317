"""Aided unmixing from end to end: pure cores, compositions that hold, collections, what is refused."""

import numpy as np
import pytest
import xarray as xr
from blurred_maps import ABSENT, ELEMENTS, TRACES, blurred_map, composition_of, truth_as_result

import edxdask
from edxdask import schema
from edxdask.errors import EdxdaskError, ParameterError, SchemaError
from edxdask.results.check import check_result

STD = schema.STD_SUFFIX
METHODS = [
    "potts",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("threshold", "otsu", "kmeans", "grabcut")),
]


def unmix(data, result, **options):
    return edxdask.aided(data, matrix="Brg", absent=ABSENT, result=result, progress=False, **options)


@pytest.fixture(scope="module")
def found(blurred, phases):
    pytest.importorskip("maxflow")
    return unmix(blurred, phases)


def gained(cube, core):
    """Atomic fraction of Nd that a core gains from the Ca-perovskite in it; photons of it mean 1.3 times as
    many atoms.
    """
    return float(cube.truth_abundance.sel({schema.PHASE: "CaPv"}).values[core].mean()) * 1.3 * 0.01


def pulls(result, cube, name=schema.COMPOSITION):
    truth = composition_of(cube)
    error = result[name + STD].where(result[name + STD] > 0)
    return (result[name] - truth.sel({schema.PHASE: result[schema.PHASE]})) / error


@pytest.mark.parametrize("method", METHODS)
def test_cores_are_pure_for_any_kind_of_mask(blurred, phases, method):
    """The measure is what the core's traces gain from precipitates, over their error; overlap says little."""
    pytest.importorskip({"potts": "maxflow", "grabcut": "cv2"}.get(method, "numpy"))
    result = unmix(blurred, phases, masks=method)
    core, mask = (result[name].sel(phase="Brg").values for name in ("core", "mask"))
    error = float(result.composition_std.sel(phase="Brg", element="Nd"))
    assert core.sum() > 3000
    assert gained(blurred, core) < 0.3 * error
    assert gained(blurred, core) < gained(blurred, mask) or method == "potts"
    assert result.attrs["mask_methods"] == [f"Fp: {method}", f"CaPv: {method}"]
    assert abs(float(result.composition.sel(phase="Brg", element="Nd")) - TRACES["Nd"]) < 3 * error


def test_both_compositions_hold_the_truth_within_their_errors(found, blurred):
    for name in (schema.COMPOSITION, schema.COMPOSITION_SUBTRACTED):
        values = pulls(found, blurred, name)
        assert float(np.abs(values).max()) < 4.5, name
        assert float((values**2).mean()) < 2.5, name
    at = found.composition.sel(phase="Brg")
    for element, fraction in TRACES.items():
        error = float(found.composition_std.sel(phase="Brg", element=element))
        assert error < 40e-6
        assert abs(float(at.sel(element=element)) - fraction) < 4 * error
    assert "warnings" not in found.attrs


def test_the_result_is_one_like_every_other(found, blurred, tmp_path):
    check_result(found, whole=True)
    assert found.phase.values.tolist() == ["Brg", "Fp", "CaPv"]
    assert found.mask.dtype == found.core.dtype == found.mask_overlap.dtype == bool
    precipitates = found.mask.sel(phase=["Fp", "CaPv"])
    assert (found.mask.sel(phase="Brg") == ~precipitates.any("phase")).all()
    assert (found.mask_overlap == (precipitates.sum("phase") > 1)).all()
    assert (found.core <= found.mask).all()
    assert not (found.core.sel(phase="Fp") & found.mask_overlap).any()
    assert found.attrs["core_choice"].startswith("the core of Brg is what is farther than")
    assert "aided(matrix='Brg'" in found.attrs["history"][-1]
    table = found.edx.table()
    assert len(table) == 3 * len(ELEMENTS)
    assert type(found.edx.plot()).__name__ == "Figure"
    edxdask.save(found, tmp_path / "un.zarr")
    again = edxdask.open(tmp_path / "un.zarr")
    xr.testing.assert_allclose(again.load(), found)
    assert again.attrs["core_width_px"] == found.attrs["core_width_px"]
    written = edxdask.export(found, tmp_path / "un.csv")
    assert "Nd" in written.read_text()
    assert found.edx.residual(blurred, normalise=True).sizes["energy"] == 970


def test_abundances_are_those_of_least_squares_on_the_simplex(found, blurred):
    expected = edxdask.fcls(blurred, found.spectrum, progress=False)
    np.testing.assert_allclose(found.abundance.values, expected.abundance.values, atol=1e-6)
    truth = blurred.truth_abundance.sel(phase=found.phase).values
    # a fraction is never below 0, so noise adds 4 % of each precipitate at 160 counts per pixel
    assert np.abs((found.abundance.values - truth).mean(axis=(1, 2))).max() < 0.08


def test_masks_and_core_are_drawn_on_the_photons(found):
    figure = found.edx.plot(figure="masks", title="two precipitates")
    texts = [
        text.get_text() for part in figure.subfigs for legend in part.legends for text in legend.get_texts()
    ]
    assert texts == ["mask of Fp", "mask of CaPv", "core of Brg"]
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert "core of Brg, counts" in titles
    assert "mask of CaPv less Brg, counts" in titles
    with pytest.raises(ParameterError, match="figure='masks'"):
        found.drop_vars(["spectrum_subtracted", "mask"]).edx.plot(figure="masks")


def test_subtracted_spectra_are_counts_and_hold_no_line_of_what_is_absent(found, blurred):
    spectrum = found.spectrum_subtracted.sel(phase="Fp", energy=slice(1.70, 1.78))
    error = np.sqrt((found.spectrum_subtracted_std.sel(phase="Fp", energy=slice(1.70, 1.78)) ** 2).sum())
    expected = found.spectrum.sel(phase="Fp", energy=slice(1.70, 1.78)).sum() * found.spectrum_subtracted.sel(
        phase="Fp"
    ).sum("energy")
    assert abs(float(spectrum.sum() - expected)) < 4 * float(error)
    core = found.core.sel(phase="Brg").values
    away = found.attrs["core_width_px"]
    assert away >= 1
    matrix = found.spectrum_subtracted.sel(phase="Brg")
    assert float(matrix.sum()) <= int(blurred.counts.values[core].sum())


@pytest.fixture(scope="module")
def neighbours():
    """Three maps of other sizes, on other axes than their files say."""
    moved = {"a": ((64, 72), 0.0, 1.0), "b": ((56, 64), 0.015, 1.002), "c": ((64, 56), -0.015, 0.998)}
    return edxdask.collect(
        {
            name: blurred_map(20 + i, shape, offset=offset, gain=gain)
            for i, (name, (shape, offset, gain)) in enumerate(moved.items())
        }
    )


@pytest.mark.slow
def test_neighbouring_maps_share_compositions_and_nothing_else(neighbours):
    result = truth_as_result(neighbours)
    un = unmix(neighbours, result, masks="otsu")
    assert sorted(un.children) == ["a", "b", "c"]
    first = neighbours["a"].to_dataset()
    assert float(np.abs(pulls(un.to_dataset(), first)).max()) < 4.5
    assert un["b"].attrs["energy_offset_step_kev"] == pytest.approx(0.015, abs=0.003)
    assert un["c"].attrs["energy_gain"] == pytest.approx(0.998, abs=0.0005)
    alone = unmix(first, truth_as_result(first), masks="otsu")
    ratio = un.composition_std.sel(phase="Brg") / alone.composition_std.sel(phase="Brg")
    assert 0.45 < float(ratio.sel(element="Nd")) < 0.7  # of a third of the photons
    turned = xr.DataTree.from_dict({name: neighbours[name].to_dataset() for name in ("c", "a", "b")})
    again = unmix(
        turned,
        xr.DataTree.from_dict(
            {"/": result.to_dataset(), **{n: result[n].to_dataset(inherit=False) for n in "cab"}}
        ),
        masks="otsu",
    )
    for name in (schema.COMPOSITION, schema.COMPOSITION_SUBTRACTED, schema.SPECTRUM_SUBTRACTED):
        np.testing.assert_allclose(un[name].values, again[name].values, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_maps_that_do_not_belong_are_named_and_left_out_on_request(neighbours, tmp_path):
    """One with its axis 200 eV off, and one of another sample: neither ruins the others."""
    pytest.importorskip("maxflow")
    off = neighbours["a"].to_dataset()
    off = off.assign_coords({schema.ENERGY: schema.energy_coordinate(0.5, 0.01, 970)})
    other = neighbours["b"].to_dataset().copy()
    counts = other.counts.values.copy()
    iron = slice(590, 640)  # channels of Fe Ka, half of whose photons go
    counts[..., iron] = np.random.default_rng(0).binomial(counts[..., iron], 0.5)
    other = other.assign(counts=(other.counts.dims, counts))
    good = {name: neighbours[name].to_dataset() for name in "ac"}
    phases = truth_as_result(good["a"])
    alone = unmix(edxdask.collect(good), phases, masks="potts")
    assert alone.map_belongs.values.tolist() == [True] * 2
    assert "warnings" not in alone.attrs
    maps = edxdask.collect({**good, "off": off, "other": other})
    un = unmix(maps, phases, masks="potts", leave_out=True)
    assert un.map_belongs.sel(map=["a", "c", "off", "other"]).values.tolist() == [True, True, False, False]
    assert sorted(un.children) == ["a", "c"]
    assert [text.split("'")[1] for text in un.attrs["warnings"]] == ["other", "off"]
    np.testing.assert_allclose(un.composition.values, alone.composition.values, rtol=1e-6, atol=1e-9)
    edxdask.save(un, tmp_path / "un.zarr")
    assert "cannot be calibrated" in str(edxdask.open(tmp_path / "un.zarr").map_reason.sel(map="off").values)


@pytest.mark.slow
def test_maps_on_axes_of_their_own_and_without_abundances_need_only_spectra(neighbours):
    """A result of one map serves neighbours that it has never seen."""
    pytest.importorskip("maxflow")
    first = neighbours["a"].to_dataset()
    other = neighbours["b"].to_dataset().isel(energy=slice(5, 940))
    tree = edxdask.collect({"x": first, "y": other})
    un = unmix(tree, truth_as_result(first))
    assert float(np.abs(pulls(un.to_dataset(), first)).max()) < 4.5
    with pytest.raises(ParameterError, match=r"abundances of map 'x', which masks=.*'otsu'.* need"):
        unmix(tree, truth_as_result(first), masks="otsu")


@pytest.mark.slow
def test_without_a_result_psnmf_finds_the_phases(blurred):
    pytest.importorskip("maxflow")
    cube = blurred.isel(x=slice(64), y=slice(64))
    un = edxdask.aided(cube, matrix="Brg", absent=ABSENT, elements=ELEMENTS, progress=False)
    assert un.phase.values.tolist() == ["Brg", "Fp", "CaPv"]
    assert float(np.abs(pulls(un, cube).sel(phase="Brg")).max()) < 5


@pytest.mark.slow
def test_the_subtraction_is_unbiased_over_ten_maps():
    """Mean over ten seeds within 3.5 of its errors: majors of the precipitates, traces of the matrix."""
    values = []
    for seed in range(10):
        cube = blurred_map(100 + seed, (48, 48))
        values.append(
            pulls(unmix(cube, truth_as_result(cube), masks="threshold"), cube, schema.COMPOSITION_SUBTRACTED)
        )
    mean = xr.concat(values, "seed").mean("seed") * np.sqrt(10)
    for phase, elements in (
        ("Brg", ["Mg", "Si", "Nd", "Sm"]),
        ("Fp", ["Mg", "Fe"]),
        ("CaPv", ["Si", "Ca", "Nd"]),
    ):
        assert float(np.abs(mean.sel(phase=phase, element=elements)).max()) < 3.5


def test_a_drawn_mask_is_used_as_it_is(blurred, phases, tmp_path):
    mask = blurred.truth_abundance.sel(phase="CaPv").values > 0.15
    np.save(tmp_path / "capv.npy", mask)
    before = blurred.copy(deep=True)
    result = unmix(blurred, phases, masks="otsu", user_masks={"CaPv": tmp_path / "capv.npy"}, core=3)
    assert (result.mask.sel(phase="CaPv").values == mask).all()
    assert result.attrs["mask_methods"] == ["Fp: otsu", "CaPv: user"]
    assert result.attrs["core_width_px"] == 3
    assert "as asked for" in result.attrs["core_choice"]
    xr.testing.assert_identical(blurred, before)


def relabelled(result, names):
    return result.assign_coords({schema.PHASE: names})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"absent": {"Fp": "Si"}}, "of 'CaPv' none is named"),
        ({"absent": {**ABSENT, "Brg": "U"}}, "'Brg' is the matrix"),
        ({"absent": {**ABSENT, "Stishovite": "Mg"}}, "absent='Stishovite': expected one of the phases"),
        (
            {"absent": {"Fp": "Si", "CaPv": "Cu"}},
            r"absent\['CaPv'\]=\['Cu'\].*the matrix lacks it too.*It holds O, Mg",
        ),
        ({"absent": {"Fp": "Pb", "CaPv": "Mg"}}, "'Pb'"),
        ({"matrix": "Periclase"}, "matrix='Periclase': expected one of the phases of the result"),
        ({"matrix": 7}, "matrix=7"),
        ({"core": -1}, "core=-1: expected a whole number"),
        ({"core": 2.5}, "core=2.5"),
        ({"core": 60}, "core=60: expected a width that leaves 50 pixels"),
        ({"masks": "magic"}, "masks='magic'"),
        ({"masks": "threshold", "threshold": 0.99}, "a mask of 'Fp' with pixels; it has none"),
        ({"threshold": 0}, "threshold=0"),
        ({"user_masks": {"Fp": np.ones((96, 96), bool)}}, "all pixels inside"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(blurred, phases, options, says):
    given = {"matrix": "Brg", "absent": ABSENT, "result": phases, "masks": "otsu", "progress": False}
    with pytest.raises(ParameterError, match=says):
        edxdask.aided(blurred, **{**given, **options})


def test_results_and_maps_that_do_not_belong_together_are_refused(blurred, phases):
    with pytest.raises(ParameterError, match=r"abundances of .* pixels'?: expected those of the map"):
        unmix(blurred.isel(x=slice(50)), phases, masks="otsu")
    with pytest.raises(SchemaError, match="lacks spectrum"):
        unmix(blurred, blurred, masks="otsu")
    with pytest.raises(SchemaError, match="need y and x"):
        unmix(blurred.expand_dims(tilt=[0.0]), phases.drop_vars(["abundance", "total"]), masks="otsu")
    with pytest.raises(ParameterError, match="two phases or more"):
        edxdask.aided(blurred, matrix="Brg", absent={}, result=phases.isel(phase=[0]))
    with pytest.raises(EdxdaskError, match="beam_energy"):
        unmix(blurred.assign_attrs(beam_energy_kev=15.0), phases, masks="otsu")
    with pytest.raises(ParameterError, match="elements=None: expected the elements of the sample"):
        edxdask.aided(blurred.assign_attrs(elements=[]), matrix="Brg", absent=ABSENT, masks="otsu")


@pytest.mark.slow
def test_a_mask_on_matrix_alone_is_a_warning_not_a_composition(blurred, phases):
    """Nothing is left of it once the matrix is subtracted."""
    pure = blurred.truth_abundance.sel(phase="Brg").values > 0.9999
    rows, columns = np.nonzero(pure)
    mask = np.zeros((96, 96), bool)
    mask[rows[:400], columns[:400]] = True
    un = unmix(blurred, phases, masks="otsu", user_masks={"CaPv": mask})
    error = un.composition_subtracted_std.sel(phase="CaPv")
    loud = bool(np.isnan(error).all()) or float(error.max()) > 0.3
    assert loud or any("CaPv" in text for text in un.attrs.get("warnings", []))


CATIONS = ["Mg", "Si", "Al", "Ca", "Fe", "Nd", "Sm", "U"]
# 71 GPa sample, at.%: Brg Mg 18.30 Si 21.12, Fp Mg 45.31 Fe 7.11
# (H. Chen et al., Ultramicroscopy (2024) 113981)


@pytest.fixture(scope="module")
def real(data, tmp_path_factory):
    path = data / "71GPa_left.hspy"
    if not path.exists():
        pytest.skip("needs 71GPa_left.hspy")
    cube = edxdask.ingest(path, tmp_path_factory.mktemp("real") / "left.zarr", progress=False)
    known = {"phases": ["Brg", "Fp", "CaPv"], "elements": CATIONS, "absent": ABSENT}
    return cube, edxdask.psnmf(cube, bin=12, smooth=1.0, progress=False, **known)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["potts", "otsu", "kmeans", "grabcut"])
def test_ratios_of_a_real_map_are_those_published_whatever_the_masks(real, method):
    pytest.importorskip({"potts": "maxflow", "grabcut": "cv2"}.get(method, "numpy"))
    cube, result = real
    un = unmix(cube, result, masks=method)
    for name in (schema.COMPOSITION, schema.COMPOSITION_SUBTRACTED):
        at = un[name].sel
        brg = float(at(phase="Brg", element="Mg") / at(phase="Brg", element="Si"))
        fp = float(at(phase="Fp", element="Mg") / at(phase="Fp", element="Fe"))
        assert brg == pytest.approx(18.30 / 21.12, rel=0.10), name
        assert fp == pytest.approx(45.31 / 7.11, rel=0.10), name


@pytest.mark.cluster
def test_workers_find_what_threads_find(blurred, phases, found):
    from distributed import Client, LocalCluster

    with LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        far = unmix(blurred.chunk({"y": 32}), phases)
    np.testing.assert_allclose(far.composition.values, found.composition.values, rtol=1e-6, atol=1e-9)
    assert (far.mask == found.mask).all()
    np.testing.assert_allclose(far.abundance.values, found.abundance.values, atol=1e-6)
