"""Voxels that no detector can make are left out of every fit, said in the result, and nothing real is."""

import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import edxdask
from edxdask import schema
from edxdask.engine.faults import limits_of, peak_limits
from edxdask.engine.partition import summed_spectrum
from edxdask.engine.problem import Demand, photons_of
from edxdask.photons import from_dense
from edxdask.photons.sharp import without_sharp
from edxdask.report.summary import fit_figures

ROOT = Path(__file__).resolve().parents[2]
HOT = ((3, 5, 250, 900), (11, 20, 610, 3000), (17, 2, 480, 60))  # y, x, channel, counts
DEAD_ROW = 8


@pytest.fixture(scope="module")
def clean():
    return edxdask.simulate("mantle", shape=(24, 24), counts=120, seed=1).compute()


@pytest.fixture(scope="module")
def spoiled(clean):
    counts = clean["counts"].values.copy()
    counts[DEAD_ROW] = 0
    for y, x, channel, count in HOT:
        counts[y, x, channel] = count
    return clean.assign({"counts": (clean["counts"].dims, counts)})


@pytest.fixture(scope="module")
def cured(spoiled):
    """Map of which somebody took the hot voxels away by hand."""
    counts = spoiled["counts"].values.copy()
    for y, x, channel, _ in HOT:
        counts[y, x, channel] = 0
    return spoiled.assign({"counts": (spoiled["counts"].dims, counts)})


def summed(problem):
    return np.sum(list(problem.executor.collect(summed_spectrum)), axis=0)


def test_hot_voxels_are_left_out_and_named_by_place_energy_and_counts(spoiled):
    with photons_of(spoiled, step="test", demand=Demand(8, 8)) as problem:
        lost = spoiled["counts"].sum(("y", "x")).values - summed(problem)
        warnings = problem.warnings
    expected = np.zeros(lost.size)
    for _, _, channel, count in HOT:
        expected[channel] = count
    np.testing.assert_array_equal(lost, expected)
    assert len(warnings) == 2
    assert f"y={DEAD_ROW}" in warnings[1]
    for y, x, channel, count in HOT:
        assert f"{count} counts at {spoiled.energy.values[channel]:.2f} keV in y={y}, x={x}" in warnings[0]


@pytest.mark.parametrize("chunks", [{"y": 5, "x": 7}, {"y": 24, "x": 24, "energy": 100}])
def test_chunks_and_caches_leave_out_the_same_voxels(spoiled, chunks, tmp_path):
    with photons_of(spoiled, step="test", demand=Demand(8, 8)) as problem:
        wanted, warnings, mark = summed(problem), problem.warnings, problem.fingerprint()
    with photons_of(spoiled.chunk(chunks), step="test", demand=Demand(8, 8), workers=3) as problem:
        np.testing.assert_array_equal(summed(problem), wanted)
        assert (problem.warnings, problem.fingerprint()) == (warnings, mark)
    sums = [edxdask.find_elements(ds, known=["Mg"]) for ds in (spoiled, spoiled.chunk(chunks))]
    np.testing.assert_array_equal(sums[0].sum_spectrum, sums[1].sum_spectrum)
    np.testing.assert_array_equal(sums[0].sum_spectrum, wanted.astype(np.uint64))


@pytest.mark.parametrize("how", ["nmf", "psnmf", "guided"])
def test_hot_voxels_shape_no_spectra(cured, spoiled, how):
    options = {"bin": 2, "smooth": 1.0}
    if how == "guided":
        options["elements"] = ["Mg", "Si", "Al", "Ca", "Fe", "Nd", "Sm", "U", "O"]
    method = edxdask.nmf if how == "nmf" else edxdask.psnmf
    options = {} if how == "nmf" else options
    wanted, found = (method(ds, phases=2, progress=False, **options) for ds in (cured, spoiled))
    np.testing.assert_allclose(found.spectrum, wanted.spectrum, atol=1e-7)
    np.testing.assert_allclose(found.abundance, wanted.abundance, atol=1e-5)
    assert sum("left out" in text for text in found.attrs[schema.WARNINGS]) == 1
    assert fit_figures(found)[schema.WARNINGS] == found.attrs[schema.WARNINGS]
    assert float(found.total.sum()) == pytest.approx(int(cured.counts.sum()), rel=1e-3)


def test_elements_axis_and_compositions_are_those_of_the_map_without_them(cured, spoiled):
    listed = ["Mg", "Si", "Fe", "Ca", "O"]
    wanted, found = (edxdask.find_elements(ds) for ds in (cured, spoiled))
    np.testing.assert_array_equal(found.element, wanted.element)
    assert "left out" in found.attrs[schema.WARNINGS][0]
    axes = [edxdask.calibrate_energy(ds, ["Mg_Ka", "Fe_Ka"]).energy.values for ds in (cured, spoiled)]
    np.testing.assert_allclose(axes[0], axes[1])
    parts = [edxdask.quantify(ds, elements=listed).composition.values for ds in (cured, spoiled)]
    np.testing.assert_allclose(parts[0], parts[1])
    region = xr.zeros_like(spoiled.counts[..., 0], dtype=bool)
    region[:6, 2:] = True
    inside = edxdask.quantify(spoiled, elements=listed, per=region)
    assert f"in y={HOT[0][0]}, x={HOT[0][1]}" in inside.attrs[schema.WARNINGS][-1]
    assert str(HOT[1][3]) not in inside.attrs[schema.WARNINGS][-1]


def test_sums_for_people_keep_every_count(spoiled):
    assert int(spoiled.edx.sum_spectrum()[HOT[1][2]]) >= HOT[1][3]
    assert int(edxdask.total_map(spoiled).sum()) == int(spoiled.counts.sum())


def test_a_bright_pixel_and_an_empty_one_are_said_and_stay(clean):
    counts = clean["counts"].values.copy()
    counts[4, 4] = np.random.default_rng(0).poisson(100 * counts.mean((0, 1)))
    counts[15, 9] = 0
    ds = clean.assign({"counts": (clean["counts"].dims, counts)})
    with photons_of(ds, step="test", demand=Demand(8, 8)) as problem:
        assert problem.photons == counts.sum()
        bright, dark = problem.warnings
    assert f"{counts[4, 4].sum()} counts in y=4, x=4" in bright
    assert dark == "no counts between counted neighbours in the pixels y=15, x=9"


@pytest.mark.parametrize("counts", [2, 50, 5000])
@pytest.mark.parametrize("channels", [1, 2, 4, 10])
def test_simulated_peaks_are_no_faults(counts, channels):
    fine = edxdask.simulate("mantle", shape=(12, 12), counts=counts, seed=2)
    coarse = fine.edx.bin(energy=channels) if channels > 1 else fine
    for factor in (1, 4):
        with photons_of(coarse.edx.bin(factor), step="test", demand=Demand(8, 8)) as problem:
            assert problem.warnings == ()


def test_sharp_voxels_that_are_common_are_taken_as_they_are_and_said(clean):
    rng = np.random.default_rng(3)
    counts = clean["counts"].values.copy()
    counts[..., [200, 400]] = rng.poisson(80, (24, 24, 2))  # lines of a detector ten times as sharp
    ds = clean.assign({"counts": (clean["counts"].dims, counts)})
    with photons_of(ds, step="test", demand=Demand(8, 8)) as problem:
        assert problem.photons == counts.sum()
        assert "taken as they are" in problem.warnings[0]
        assert len(problem.warnings) == 1
    found = edxdask.find_elements(ds, known=["Mg"])
    np.testing.assert_array_equal(found.sum_spectrum, counts.sum((0, 1)))
    assert "taken as they are" in found.attrs[schema.WARNINGS][0]
    with photons_of(ds.assign_attrs(fwhm_mn_ka_ev=20.0), step="test", demand=Demand(8, 8)) as problem:
        assert problem.warnings == ()


def test_zero_peaks_are_no_faults(clean):
    rng, energy = np.random.default_rng(0), clean.energy.values
    at = np.argmin(np.abs(energy - 0.05))
    counts = np.concatenate([np.zeros((24, 24, 40), np.uint16), clean.counts.values], axis=2)
    counts[..., at + 2] = rng.poisson(4000, (24, 24))
    limits = peak_limits(energy[0] - 0.4 + 0.01 * np.arange(counts.shape[2]), None)
    assert energy[0] - 0.4 + 0.01 * (at + 2) < 0.15
    assert without_sharp(from_dense(counts), limits)[1].count.size == 0


def test_edges_of_a_discriminator_are_no_faults():
    energy = 0.01 * np.arange(300)
    limits = peak_limits(energy, None)
    for width in (0.03, 0.06):
        for centre in (0.5, 0.505, 1.0):
            peak = 1e5 * np.exp(-0.5 * ((energy - centre) / (width / 2.355)) ** 2)
            peak[energy < centre - 1e-6] = 0
            spectra = np.random.default_rng(1).poisson(peak, (50, energy.size)).astype(np.uint32)
            assert without_sharp(from_dense(spectra), limits)[1].count.size == 0


def real_maps():
    named = os.environ.get("EDXDASK_TEST_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    names = ("71GPa_left.hspy", "88GPa_crop.hspy", "vendor/test_TEM.bcf", "vendor/bcf_v2_50x50px.bcf")
    others = ("vendor/P45_the_default_job.bcf", "vendor/over16bit.bcf", "vendor/jeol/rawdata.ASW")
    return [folder / name for name in (*names, *others) if (folder / name).is_file()]


@pytest.mark.parametrize("path", real_maps(), ids=lambda path: path.name)
def test_real_maps_have_no_hot_voxels(path, tmp_path):
    edxdask.ingest(path, tmp_path / "map.zarr", progress=False)
    ds = edxdask.open(tmp_path / "map.zarr")
    limits = limits_of(ds)
    for block in ds.counts.data.to_delayed().ravel():
        found = without_sharp(from_dense(block.compute()), limits)[1]
        assert found.count.size == 0
