"""Maps on one energy axis: whole photons, still Poisson, the same for any chunks and order of maps."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import edxdask
from edxdask.cli import cli
from edxdask.errors import ParameterError, SchemaError
from edxdask.schema import energy_axis

ELEMENTS = ["Mg", "Si", "Al", "Ca", "Fe", "O"]


def shifted_map(seed, *, offset_ev=0.0, gain=1.0, shape=(40, 40), counts=120.0, channels=970):
    """A simulated map whose file gives the usual axis, while its true one is shifted and stretched."""
    usual = edxdask.simulate(shape=(2, 2), counts=1, channels=channels)
    offset, scale = energy_axis(usual)
    true = {"energy_offset": offset * gain + offset_ev / 1e3, "energy_scale": scale * gain}
    ds = edxdask.simulate(shape=shape, seed=seed, counts=counts, channels=channels, **true).load()
    return ds.assign_coords(energy=usual.energy)


@pytest.fixture(scope="module")
def differing():
    one = edxdask.simulate(shape=(20, 24), counts=60, seed=1, channels=500).load()
    other = edxdask.simulate(
        shape=(17, 9),
        counts=30,
        seed=2,
        channels=400,
        energy_offset=0.35,
        energy_scale=0.0113,
        pixel_size=7.0,
    ).load()
    return edxdask.collect({"one": one, "other": other})


def test_photons_stay_whole_and_none_within_the_axis_is_lost(differing):
    moved = edxdask.rebin_energy(differing)
    offset, scale = energy_axis(moved["one"].to_dataset())
    assert scale == pytest.approx(0.0113)
    for name in ("one", "other"):
        before, after = differing[name], moved[name]
        assert after.counts.dtype.kind == "u"
        inside = before.energy.values
        low, high = offset - scale / 2, offset + scale * (after.sizes["energy"] - 0.5)
        step = energy_axis(before.to_dataset())[1]
        sure = (inside - step / 2 >= low) & (inside + step / 2 <= high)
        some = (inside + step / 2 > low) & (inside - step / 2 < high)
        found = after.counts.sum("energy").values
        assert (found >= before.counts.values[..., sure].sum(axis=-1)).all()
        assert (found <= before.counts.values[..., some].sum(axis=-1)).all()
        assert after.x.equals(before.x)
    assert "rebin_energy" in moved["one"].attrs["history"][-1]
    assert "rebin_energy" not in moved["other"].attrs["history"][-1]  # it had the coarsest step already


def test_mean_energies_of_spectra_stay():
    one = edxdask.simulate(shape=(16, 16), counts=400, seed=3, channels=900).load()
    moved = edxdask.rebin_energy(one, like=edxdask.simulate(shape=(2, 2), channels=700, energy_scale=0.013))

    def mean(ds):
        spectrum = ds.counts.sum(("y", "x"))
        return float((spectrum * ds.energy).sum() / spectrum.sum())

    kept = one.sel(energy=slice(None, float(moved.energy[-1])))
    assert mean(moved) == pytest.approx(mean(kept), abs=1e-3)  # 1e5 photons within 13 eV: 0.02 eV


def test_counts_stay_poisson():
    """Fractions of counts, divided between channels, would have 0.77 of the variance."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(4.0, (60, 60, 40)).astype(np.uint16)
    ds = xr.Dataset({"counts": (("y", "x", "energy"), counts)}, {"energy": 1.0 + 0.01 * np.arange(40)})
    like = ds.isel(energy=slice(10, 30)).assign_coords(energy=1.1043 + 0.01 * np.arange(20))
    moved = edxdask.rebin_energy(ds, like=like).counts.values[..., 1:-1].astype(float)
    assert moved.var() / moved.mean() == pytest.approx(1.0, abs=0.02)
    flat = moved.reshape(-1, moved.shape[-1])
    beside = np.mean([np.corrcoef(flat[:, i], flat[:, i + 1])[0, 1] for i in range(flat.shape[1] - 1)])
    assert abs(beside) < 0.02


@pytest.mark.parametrize("chunks", [(5, 7, -1), (20, 24, 100), (64, 64, -1)])
def test_any_chunks_and_any_order_of_maps_give_the_same_photons(differing, chunks):
    whole = edxdask.rebin_energy(differing)
    cut = {
        n: differing[n].to_dataset().chunk(dict(zip(("y", "x", "energy"), chunks, strict=True)))
        for n in ("other", "one")
    }
    again = edxdask.rebin_energy(edxdask.collect(cut))
    for name in ("one", "other"):
        assert (again[name].counts.values == whole[name].counts.values).all()
        assert again[name].energy.equals(whole[name].energy)
    other_seed = edxdask.rebin_energy(differing, seed=1)
    assert not (other_seed["one"].counts.values == whole["one"].counts.values).all()


def test_maps_on_one_axis_stay_as_they_are():
    tree = edxdask.collect({n: edxdask.simulate(shape=(5, 6), seed=s) for n, s in (("a", 1), ("b", 2))})
    for name, one in edxdask.rebin_energy(tree).children.items():
        assert one.counts.data.name == tree[name].counts.data.name


def test_building_it_computes_nothing(differing):
    def never(block):
        raise AssertionError("counts were read")

    counts = differing["one"].counts.chunk({"y": 5})
    lazy = (
        differing["one"]
        .to_dataset()
        .assign(
            counts=counts.copy(
                data=counts.data.map_blocks(never, dtype=counts.dtype, meta=np.empty((0, 0, 0), "u2"))
            )
        )
    )
    moved = edxdask.rebin_energy(edxdask.collect({"a": lazy, "b": differing["other"].to_dataset()}))
    with pytest.raises(AssertionError, match="counts were read"):
        moved["a"].counts.compute()


@pytest.mark.parametrize("elements", [ELEMENTS, pytest.param("find", marks=pytest.mark.slow)])
def test_named_elements_calibrate_each_map_for_itself(elements):
    """±15 eV and ±0.2 % between maps, as in the trial of many maps: then lines lie where they belong."""
    tree = edxdask.collect(
        {
            "low": shifted_map(1, offset_ev=-15, gain=1.002),
            "high": shifted_map(3, offset_ev=15, gain=0.998),
        }
    )
    moved = edxdask.rebin_energy(tree, elements=elements)

    def centroids(data):
        """Of Mg Ka, Ca Ka and Fe Ka."""
        found = []
        for one in data.children.values():
            spectrum = one.counts.sum(("y", "x")).values.astype(float)
            energy = one.energy.values
            for line in (1.2536, 1.74, 6.40):
                near = np.abs(energy - line) < 0.07
                found.append((spectrum * energy)[near].sum() / spectrum[near].sum())
        return np.array(found).reshape(-1, 3)

    assert np.ptp(centroids(tree), axis=0).max() > 0.01
    # 4e3 photons of iron give its mean to 1 eV
    assert np.ptp(centroids(moved), axis=0).max() < 0.004
    assert "axis refined by" in moved["low"].attrs["history"][-1]


@pytest.mark.slow
def test_shared_compositions_of_maps_with_separate_axes_are_those_of_maps_with_one():
    phases, absent = ["Brg", "Fp", "CaPv"], {"Fp": "Si", "CaPv": "Mg"}
    how = {
        "phases": phases,
        "absent": absent,
        "elements": [*ELEMENTS, "Nd", "Sm", "U", "Cu"],
        "bin": 6,
        "smooth": 1.0,
    }
    made = {"a": {"offset_ev": -15, "gain": 1.002}, "b": {"offset_ev": 15, "gain": 0.998}}
    size = {"shape": (48, 48), "counts": 150.0}
    apart = edxdask.collect({n: shifted_map(i, **size, **axis) for i, (n, axis) in enumerate(made.items())})
    plain = edxdask.collect({n: shifted_map(i, **size) for i, n in enumerate(made)})
    moved = edxdask.rebin_energy(apart, elements=how["elements"])
    found, expected = (edxdask.psnmf(tree, **how).to_dataset() for tree in (moved, plain))
    for element in ("Mg", "Si", "Ca", "Fe"):
        ours, theirs = (r.composition.sel(phase="Brg", element=element) for r in (found, expected))
        error = np.hypot(*(r.composition_std.sel(phase="Brg", element=element) for r in (found, expected)))
        assert abs(float(ours - theirs)) < max(3 * float(error), 0.004), element


# Errors and advice


def test_factorizations_name_the_function_where_axes_differ(differing):
    for method in (edxdask.nmf, edxdask.psnmf, edxdask.pca):
        with pytest.raises(SchemaError, match=r"edxdask\.rebin_energy\(maps\) or `edxdask rebin`"):
            method(differing)
    assert edxdask.nmf(edxdask.rebin_energy(differing), phases=2, max_iter=3).attrs


def test_maps_without_common_energies_are_refused():
    low = edxdask.simulate(shape=(3, 3), channels=200, energy_offset=0.3)
    high = edxdask.simulate(shape=(3, 3), channels=200, energy_offset=5.0)
    with pytest.raises(ParameterError, match=r"map 'high' from 4\.995 keV on, map 'low' up to 2\.295 keV"):
        edxdask.rebin_energy(edxdask.collect({"low": low, "high": high}))


def test_one_cube_alone_is_refused():
    with pytest.raises(ParameterError, match="a collection, or a cube beside like or elements"):
        edxdask.rebin_energy(edxdask.simulate(shape=(3, 3)))


def test_a_missing_beam_energy_is_said_in_the_words_of_the_command(differing, tmp_path):
    bare = differing.map_over_datasets(lambda ds: ds.drop_attrs() if ds.variables else ds)
    edxdask.save(bare, tmp_path / "maps.zarr")
    done = CliRunner().invoke(
        cli, ["rebin", str(tmp_path / "maps.zarr"), "-o", str(tmp_path / "b.zarr"), "--elements", "Mg,Si"]
    )
    assert done.exit_code == 2
    assert "--beam-energy" in done.output


def test_the_command_makes_a_store_that_psnmf_takes(differing, tmp_path):
    edxdask.save(differing, tmp_path / "maps.zarr")
    out = tmp_path / "one.zarr"
    refused = CliRunner().invoke(
        cli, ["nmf", str(tmp_path / "maps.zarr"), "-o", str(tmp_path / "r.zarr"), "--phases", "2"]
    )
    assert refused.exit_code == 1
    assert "edxdask rebin" in refused.output
    done = CliRunner().invoke(cli, ["rebin", str(tmp_path / "maps.zarr"), "-o", str(out), "--json"])
    assert done.exit_code == 0, done.output
    assert [m["channels"] for m in json.loads(done.stdout)["maps"]] == [400, 400]
    again = CliRunner().invoke(
        cli, ["nmf", str(out), "-o", str(tmp_path / "r.zarr"), "--phases", "2", "--max-iter", "3"]
    )
    assert again.exit_code == 0, again.output
