"""Expected and residual cubes: equal to the plain product, lazy, on any chunks."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError, SchemaError
from edxdask.results.reconstruct import reconstruct, residual

PHASES, CHANNELS = 3, 20


def no_compute(*args, **kwargs):
    raise RuntimeError("something computed")


def make_result(shape=(70, 67), seed=0, channels=CHANNELS):
    rng = np.random.default_rng(seed)
    pixels = ("tilt", "y", "x")[-len(shape) :]
    spectra = rng.dirichlet(np.ones(channels), size=PHASES)
    abundance = np.moveaxis(rng.dirichlet(np.ones(PHASES), size=shape), -1, 0)
    return xr.Dataset(
        {
            schema.SPECTRUM: ((schema.PHASE, schema.ENERGY), spectra),
            schema.ABUNDANCE: ((schema.PHASE, *pixels), abundance.astype(np.float32)),
            schema.TOTAL: (pixels, rng.uniform(20, 200, size=shape)),
        },
        coords={
            schema.ENERGY: schema.energy_coordinate(0.1, 0.01, channels),
            schema.PHASE: list("abc"),
            "x": np.arange(shape[-1]) * 2.0,
        },
        attrs={schema.TITLE: "made"},
    )


def dense(result):
    return np.einsum(
        "k...,...,ke->...e",
        result.abundance.values.astype(float),
        result.total.values,
        result.spectrum.values,
    )


def cube_of(result, chunks=None):
    counts = np.random.default_rng(1).poisson(dense(result)).astype(np.uint16)
    pixels = result.total.dims
    data = counts if chunks is None else da.from_array(counts, chunks=chunks)
    return xr.Dataset(
        {schema.COUNTS: ((*pixels, schema.ENERGY), data)}, coords={schema.ENERGY: result.energy}
    )


@pytest.mark.parametrize("shape", [(70, 67), (2, 9, 8), (50,)])
def test_the_expected_cube_is_the_product_of_the_factors(shape):
    result = make_result(shape)
    cube = reconstruct(result)
    assert cube.expected.dtype == np.float32
    assert cube.expected.dims == (*result.total.dims, schema.ENERGY)
    np.testing.assert_allclose(cube.expected, dense(result), rtol=1e-5)


def test_nothing_is_computed_and_chunks_are_those_of_the_store():
    result = make_result()
    result[schema.ABUNDANCE] = result[schema.ABUNDANCE].chunk({schema.PHASE: 2, "y": 11})
    result[schema.TOTAL] = result[schema.TOTAL].chunk()
    with dask.config.set(scheduler=no_compute):
        cube = reconstruct(result)
    assert cube.expected.chunks == ((64, 6), (64, 3), (CHANNELS,))
    np.testing.assert_allclose(cube.expected, dense(result), rtol=1e-5)


def test_one_block_needs_no_other(monkeypatch):
    from edxdask.results import reconstruct as module

    product, calls = module._product, []
    monkeypatch.setattr(module, "_product", lambda *a: calls.append(1) or product(*a))
    block = reconstruct(make_result()).expected[:64, :64].compute(scheduler="synchronous")
    assert block.shape == (64, 64, CHANNELS)
    assert len(calls) == 1


def test_labels_of_the_result_stay():
    cube = reconstruct(make_result())
    np.testing.assert_array_equal(cube.x, np.arange(67) * 2.0)
    assert cube.energy.attrs["units"] == "keV"
    assert cube.attrs[schema.TITLE] == "made"
    assert cube.attrs[schema.HISTORY][-1] == "reconstruct()"


@pytest.mark.parametrize("chunks", [None, (64, 64, CHANNELS), (9, 50, 7)])
def test_the_residual_is_counts_minus_expected_on_the_chunks_of_the_counts(chunks):
    result = make_result()
    cube = cube_of(result, chunks)
    with dask.config.set(scheduler=no_compute):
        left = residual(cube, result)
    if chunks:
        assert left.residual.chunks == cube.counts.chunks
    wanted = cube.counts.values.astype(float) - dense(result)
    np.testing.assert_allclose(left.residual, wanted, atol=2e-4)


def test_the_normalised_residual_of_the_truth_has_variance_one():
    result = make_result()
    values = residual(cube_of(result), result, normalise=True).residual.values
    assert abs(values.mean()) < 4 / np.sqrt(values.size)
    # the variance of (y - m)² / m is 2 + 1 / m
    spread = np.sqrt(np.mean(2 + 1 / dense(result)) / values.size)
    assert abs(values.var() - 1) < 4 * spread


def test_where_nothing_is_expected_a_photon_gives_nan_and_no_photon_zero():
    result = make_result((2, 2))
    result[schema.TOTAL][0, 0] = 0.0
    cube = cube_of(result)
    assert (residual(cube, result, normalise=True).residual[0, 0] == 0).all()
    cube[schema.COUNTS][0, 0, 3] = 1
    found = residual(cube, result, normalise=True).residual[0, 0].values
    assert np.isnan(found[3])
    assert np.isnan(found).sum() == 1


def test_a_collection_gives_one_cube_a_map():
    a, b = make_result((5, 6), 0), make_result((4, 3), 1)
    own = [schema.ABUNDANCE, schema.TOTAL]
    b[schema.SPECTRUM] = a[schema.SPECTRUM]
    tree = xr.DataTree.from_dict({"/": a[[schema.SPECTRUM]], "a": a[own], "b": b[own]})
    cubes = xr.DataTree.from_dict({"b": cube_of(b), "a": cube_of(a)})
    np.testing.assert_allclose(reconstruct(tree)["b"].expected, dense(b), rtol=1e-5)
    left = residual(cubes, tree)
    np.testing.assert_allclose(left["a"].residual, cubes["a"].counts - dense(a), atol=2e-4)
    with pytest.raises(ParameterError, match="named 'c'"):
        residual(xr.DataTree.from_dict({"a": cube_of(a), "c": cube_of(b)}), tree)


def test_what_is_no_result_is_refused_with_what_it_lacks():
    with pytest.raises(SchemaError, match=r"lacks spectrum \(it has counts\)"):
        reconstruct(cube_of(make_result()))
    with pytest.raises(SchemaError, match="lacks total"):
        reconstruct(make_result().drop_vars(schema.TOTAL))
    with pytest.raises(ParameterError, match="result='ndarray'"):
        reconstruct(np.zeros(3))


def test_a_residual_against_another_cube_is_refused():
    result = make_result((6, 5))
    with pytest.raises(SchemaError, match="binned and cropped alike"):
        residual(cube_of(make_result((5, 6))), result)
    cube = cube_of(result)
    moved = cube.assign_coords({schema.ENERGY: schema.energy_coordinate(0.2, 0.01, CHANNELS)})
    with pytest.raises(SchemaError, match=r"0.2 to 0.39 keV\) is not the expected one"):
        residual(moved, result)
