"""What ``.edx`` answers on cubes and results: tables, figures, files, and one clear refusal."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import xarray as xr

import edxdask
from edxdask import schema
from edxdask.errors import EdxdaskError, ParameterError, SchemaError, StoreExistsError

ELEMENTS = ["O", "Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "U", "Cu"]
PICTURES = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}


@pytest.fixture(scope="module")
def cube():
    return edxdask.simulate(shape=(16, 20), counts=150, seed=2).load()


@pytest.fixture(scope="module")
def result(cube):
    """The truth as a result: phases that are known exactly."""
    truth = {"spectrum": "truth_spectrum", "abundance": "truth_abundance", "total": "truth_total"}
    made = xr.Dataset({name: cube[source] for name, source in truth.items()}, attrs=cube.attrs)
    return made.assign(spectrum=made.spectrum / made.spectrum.sum("energy"))


@pytest.fixture(scope="module")
def tree(cube):
    return edxdask.collect({"left": cube, "right": cube.isel(x=slice(0, 12))})


@pytest.fixture(scope="module")
def results(result):
    shared = result[["spectrum"]].drop_vars(["y", "x"], errors="ignore")
    own = result.drop_vars(["spectrum", "energy"])
    return xr.DataTree.from_dict({"/": shared, "/left": own, "/right": own.isel(x=slice(0, 12))})


@pytest.fixture(scope="module")
def quantified(result):
    return result.edx.quantify(elements=ELEMENTS)


@pytest.fixture(scope="module")
def components(cube):
    return edxdask.pca(cube, components=2)


@pytest.fixture(scope="module")
def found(cube):
    return edxdask.find_elements(cube)


def test_the_table_of_a_cube_says_what_it_is(cube, tree, tmp_path):
    row = cube.edx.table().iloc[0]
    assert (row["size"], row["channels"], row["pixel_nm"]) == ("16 × 20", 970, 4.0)
    assert row["photons"] == int(cube.counts.sum())
    assert row["fill"] == pytest.approx(float((cube.counts > 0).mean()))
    stored = edxdask.save(cube, tmp_path / "c.zarr").edx.table().iloc[0]
    assert stored.to_dict() == row.to_dict()
    assert tree.edx.table().index.tolist() == ["left", "right"]


def test_the_table_of_a_stored_cube_reads_no_counts(cube, tmp_path, monkeypatch):
    from edxdask.io import lazy

    stored = edxdask.save(cube, tmp_path / "c.zarr")

    def refuse(*_):
        raise AssertionError("counts were read")

    monkeypatch.setattr(lazy.StoredCounts, "__getitem__", refuse)
    assert stored.edx.table()["photons"].item() == int(cube.counts.sum())


def test_the_table_of_phases_is_their_photons(result, results):
    frame = result.edx.table()
    photons = (result.abundance * result.total).sum(("y", "x")).values
    np.testing.assert_allclose(frame["photons"], photons)
    np.testing.assert_allclose(frame["% of the photons"], 100 * photons / photons.sum())
    assert frame.index.tolist() == ["Brg", "Fp", "CaPv"]
    part = result.isel(x=slice(0, 12))
    both = photons + (part.abundance * part.total).sum(("y", "x")).values
    np.testing.assert_allclose(results.edx.table()["photons"], both)


def test_the_table_of_compositions_has_errors_snr_and_limits_of_detection(quantified):
    frame = quantified.edx.table()
    assert frame.index.names == ["phase", "element"]
    row = frame.loc[("Fp", "Fe")]
    at = quantified.sel(phase="Fp", element="Fe")
    assert row["at.%"] == pytest.approx(100 * float(at.composition))
    assert row["at.% error"] == pytest.approx(100 * float(at.composition_std))
    assert row["wt.%"] == pytest.approx(100 * float(at.mass_fraction))
    on = quantified.sel(phase="Fp", line=row["line"])
    assert (row["SNR"], row["LOD at.%"]) == pytest.approx((float(on.snr), 100 * float(on.lod)))


def test_the_table_of_a_guided_result_has_weights_from_its_atoms(result):
    atoms = np.array([[0.5, 0.5], [0.2, 0.8], [0.1, 0.9]])
    guided = result.assign(
        composition=(("phase", "element"), atoms), composition_std=(("phase", "element"), 0.01 * atoms)
    ).assign_coords(element=["Mg", "O"])
    frame = guided.edx.table()
    mg, o = 24.305, 15.999
    assert frame.loc[("Brg", "Mg"), "wt.%"] == pytest.approx(100 * mg / (mg + o), rel=1e-3)
    assert frame.loc[("CaPv", "O"), "at.% error"] == pytest.approx(0.9)
    assert "LOD at.%" not in frame
    assert "line" not in frame
    # of two elements, w = a M / (a M + (1 - a) m), so the error of w is that of a times M m / (mean mass)²
    slope = mg * o / (0.5 * mg + 0.5 * o) ** 2
    assert frame.loc[("Brg", "Mg"), "wt.% error"] == pytest.approx(100 * 0.005 * slope, rel=1e-3)
    assert frame.loc[("Brg", "O"), "wt.% error"] == pytest.approx(100 * 0.005 * slope, rel=1e-3)


def test_a_figure_may_be_chosen_where_there_are_several(cube, tree, result, quantified, components, tmp_path):
    whole = result.edx.plot()
    maps, spectra = result.edx.plot(figure="maps"), result.edx.plot(figure="spectra")
    assert maps.get_size_inches()[1] + spectra.get_size_inches()[1] == pytest.approx(
        whole.get_size_inches()[1], abs=0.5
    )
    assert len([axes for axes in maps.axes if axes.images]) == 3
    assert not [axes for axes in spectra.axes if axes.images]
    assert [axes.lines[0].get_ydata().size for axes in spectra.axes] == [970] * 3
    fit = quantified.edx.plot(figure="fit")
    assert any(
        "reduced χ²" in text.get_text() for axes in fit.axes for text in [axes.title, *axes.texts]
    ) or any("χ²" in axes.get_title(loc="left") for axes in fit.axes)
    assert len(quantified.edx.plot().axes) == len(whole.axes)
    assert len([axes for axes in tree.edx.plot(figure="maps").axes if axes.images]) == 2
    assert not [axes for axes in cube.edx.plot(figure="spectra").axes if axes.images]
    for data, figure in ((result, "fit"), (components, "fit"), (cube, "fit"), (cube, "picture")):
        with pytest.raises(ParameterError, match=f"figure='{figure}': expected 'maps' or 'spectra'"):
            data.edx.plot(figure=figure)
    with pytest.raises(ParameterError, match="expected None but for pictures"):
        edxdask.export(result, tmp_path / "r.csv", figure="maps")
    assert edxdask.export(cube, tmp_path / "c.png", figure="maps").read_bytes().startswith(PICTURES["png"])


def test_the_fit_of_a_stored_result_is_drawn(quantified, tmp_path):
    stored = edxdask.save(quantified, tmp_path / "q.zarr")
    assert edxdask.export(stored, tmp_path / "f.png", figure="fit").read_bytes().startswith(PICTURES["png"])


def test_the_printed_table_rounds_by_the_error_and_has_no_empty_column(result, quantified, tmp_path):
    atoms = np.array([[0.512345, 0.487655], [0.2, 0.8], [1.0, 0.0]])
    guided = result.assign(
        composition=(("phase", "element"), atoms), composition_std=(("phase", "element"), 0.0123 + 0 * atoms)
    ).assign_coords(element=["Mg", "O"])
    lines = edxdask.export(guided, tmp_path / "g.txt").read_text().splitlines()
    assert lines[0].split() == ["element", "at.%", "±", "wt.%", "±"]
    assert lines[1].split() == ["Brg", "Mg", "51.2", "1.2", "61.5", "1.2"]
    assert lines[6].split() == ["CaPv", "O", "0.0", "1.2", "0.00", "0.81"]
    measured = edxdask.export(quantified, tmp_path / "q.txt").read_text().splitlines()
    assert " ".join(measured[0].split()) == "element line at.% ± wt.% ± counts SNR LOD at.%"
    at = quantified.sel(phase="Brg", element="Mg")
    value, error = (100 * float(v) for v in (at.composition, at.composition_std))
    assert 0.1 < error < 1
    assert measured[2].split()[-8:-5] == ["Mg_Ka", f"{value:.2f}", f"{error:.2f}"]


def test_components_clusters_and_found_elements_have_their_own_tables(components, found):
    frame = components.edx.table()
    np.testing.assert_allclose(frame["variance"], components.explained_variance[:2])
    assert frame.index.name == "component"
    clusters = edxdask.cluster_pixels(components, clusters=2).edx.table()
    assert clusters["pixels"].sum() == 320
    assert clusters["% of the pixels"].sum() == pytest.approx(100)
    elements = found.edx.table()
    assert {"Mg", "Si", "O"} <= set(elements.index[:5])
    assert elements.loc["Mg", "line"] == "Mg_Ka"
    assert elements["σ"].is_monotonic_decreasing


def test_the_figure_of_a_result_holds_its_maps_and_its_spectra(result, results):
    maps, spectra = result.edx.plot(title="mine").subfigs
    for axes, name in zip(maps.axes, ("Brg", "Fp", "CaPv"), strict=True):
        assert axes.get_title(loc="left") == name
        np.testing.assert_array_equal(axes.images[0].get_array(), result.abundance.sel(phase=name))
    for axes, name in zip(spectra.axes, ("Brg", "Fp", "CaPv"), strict=True):
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), result.spectrum.sel(phase=name))
    both = results.edx.plot().subfigs[0]
    titles = [axes.get_title(loc="left") for axes in both.axes]
    assert titles == [f"{m}, {p}" for m in ("left", "right") for p in ("Brg", "Fp", "CaPv")]


def test_the_figure_of_a_cube_holds_photons_and_sum_spectrum(cube, tree):
    above, below = cube.edx.plot().subfigs
    np.testing.assert_array_equal(above.axes[0].images[0].get_array(), cube.counts.sum("energy"))
    np.testing.assert_array_equal(below.axes[0].lines[0].get_ydata(), cube.counts.sum(("y", "x")))
    (spectra,) = tree.edx.plot().subfigs
    assert [axes.get_title(loc="left") for axes in spectra.axes] == ["left", "right"]
    np.testing.assert_array_equal(spectra.axes[1].lines[0].get_ydata(), tree["right"].counts.sum(("y", "x")))


def test_every_object_draws_itself(components, found, quantified, cube, result):
    clusters = edxdask.cluster_pixels(components, clusters=2)
    pixels = edxdask.quantify(cube, per="pixel", elements=ELEMENTS, refine_axis=False)
    line = result.isel(y=0)
    for data in (components, clusters, found, quantified, pixels, line, cube.isel(y=0)):
        figure = data.edx.plot()
        figure.draw_without_rendering()
        assert figure.axes
    assert pixels.edx.plot().axes[0].get_title(loc="left") == "O"
    with pytest.raises(ParameterError, match="are maps"):
        pixels.edx.table()


def test_a_result_goes_to_every_suffix_that_fits_it(result, tmp_path):
    import tifffile
    from rsciio.msa import file_reader

    for suffix, magic in PICTURES.items():
        assert edxdask.export(result, tmp_path / f"r.{suffix}").read_bytes().startswith(magic)
    rows = list(csv.DictReader(edxdask.export(result, tmp_path / "r.csv").read_text().splitlines()))
    assert [row["of"] for row in rows] == ["Brg", "Fp", "CaPv"]
    said = json.loads(edxdask.export(result, tmp_path / "r.json").read_text())
    assert said[0]["photons"] == float(rows[0]["photons"])
    assert "% of the photons" in edxdask.export(result, tmp_path / "r.txt").read_text()
    stack = tifffile.imread(edxdask.export(result, tmp_path / "r.tif"))
    np.testing.assert_allclose(stack, result.abundance.values, rtol=1e-6)
    paths = edxdask.export(result, tmp_path / "r.msa")
    assert [p.name for p in paths] == ["r_Brg.msa", "r_Fp.msa", "r_CaPv.msa"]
    np.testing.assert_allclose(file_reader(str(paths[1]))[0]["data"], result.spectrum[1], rtol=1e-10)
    with pytest.raises(StoreExistsError):
        edxdask.export(result, tmp_path / "r.png")
    with pytest.raises(ParameterError, match=r"\.png, \.pdf, \.svg, \.csv.*for a result of a factorization"):
        result.edx.export(tmp_path / "r.rpl")


def test_collections_go_to_one_file_or_to_one_for_each_map(tree, results, tmp_path):
    assert results.edx.export(tmp_path / "r.png").stat().st_size > 1000
    assert [p.name for p in results.edx.export(tmp_path / "r.tiff")] == ["r_left.tiff", "r_right.tiff"]
    assert [p.name for p in tree.edx.export(tmp_path / "t.hspy")] == ["t_left.hspy", "t_right.hspy"]
    assert len((tmp_path / "t_left.hspy").read_bytes()) > 1000
    assert tree.edx.export(tmp_path / "t.svg").suffix == ".svg"


def test_tables_of_compositions_and_found_elements_are_files_too(quantified, found, tmp_path):
    rows = list(csv.DictReader(edxdask.export(quantified, tmp_path / "q.csv").read_text().splitlines()))
    first = quantified.isel(phase=0, element=0)
    assert float(rows[0]["composition"]) == float(first.composition)
    assert float(rows[0]["line_intensity_std"]) == float(quantified.line_intensity_std[0, 0])
    assert "LOD at.%" in edxdask.export(quantified, tmp_path / "q.txt").read_text()
    assert edxdask.export(found, tmp_path / "f.png").stat().st_size > 1000
    assert "Mg Kα" in edxdask.export(found, tmp_path / "f.txt").read_text()


def test_results_answer_with_the_functions_of_the_package(cube, result):
    xr.testing.assert_identical(result.edx.reconstruct(), edxdask.reconstruct(result))
    xr.testing.assert_identical(result.edx.residual(cube), edxdask.residual(cube, result))
    assert result.edx.score(cube).matched == ("Brg", "Fp", "CaPv")
    given = result.edx.score(truth_spectrum=cube.truth_spectrum)
    assert float(given.angles.max()) < 1e-3


@pytest.mark.parametrize("kind", ["cube", "result", "components", "found", "tree", "results"])
def test_a_method_that_does_not_fit_says_what_this_is_and_what_can_be_done(kind, request):
    data = request.getfixturevalue(kind)
    offered = [name for name in dir(data.edx) if not name.startswith("_")]
    every = [name for name in vars(type(data.edx)) if not name.startswith("_")]
    assert set(offered) < set(every)
    for method in set(every) - set(offered):
        arguments = {
            "window_map": (1, 2),
            "residual": (data,),
            "calibrate": (["Mg_Ka"],),
            "export": ("x.png",),
        }
        needed = arguments.get(method, ("Mg_Ka",) if method == "line_map" else ())
        with pytest.raises(SchemaError, match=rf"\.edx\.{method}\(\) is for .*; this is .*offers") as caught:
            getattr(data.edx, method)(*needed)
        assert all(f"{name}()" in str(caught.value) for name in offered)


def test_what_is_neither_cube_nor_result_is_told_how_to_make_one(tmp_path):
    other = xr.Dataset({"image": ("x", [1.0, 2.0])})
    with pytest.raises(SchemaError, match=r"neither a cube nor a result \(it holds image\).*edxdask\.open"):
        other.edx.table()
    with pytest.raises(EdxdaskError, match="Pick a variable"):
        edxdask.export(other, tmp_path / "x.png")
    assert "nothing" in repr(other.edx)


def test_more_maps_than_a_figure_can_show_are_refused(results):
    many = {f"/m{i}": results["left"].to_dataset(inherit=False) for i in range(21)}
    crowd = xr.DataTree.from_dict({"/": results.to_dataset(), **many})
    with pytest.raises(ParameterError, match="at most 60"):
        crowd.edx.plot()


def test_regions_mask_every_map_of_a_collection(tree):
    region = edxdask.Rectangle(y=(0, 20), x=(0, 20))
    masks = region.mask(tree)
    assert masks["right/mask"].shape == (16, 12)
    both = edxdask.combine_masks(tree, [masks, edxdask.valid_mask(tree, min_counts=100)], how="intersection")
    alone = edxdask.combine_masks(
        tree["left"].to_dataset(),
        [region, edxdask.valid_mask(tree["left"].to_dataset(), min_counts=100)],
        how="intersection",
    )
    np.testing.assert_array_equal(both["left/mask"], alone)
    sums = edxdask.sum_spectrum(tree, mask=both)
    assert int(sums["left/sum_spectrum"].sum()) == int(tree["left"].counts.where(alone).sum())
    with pytest.raises(ParameterError, match="data is one map"):
        edxdask.sum_spectrum(tree["left"].to_dataset(), mask={"left": alone})
    assert schema.SUM_SPECTRUM in sums["left"]
