"""The public names, what they are called with, and what merely importing the package costs."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import pytest

import edxdask

HEAVY = ["distributed", "matplotlib", "torch", "rsciio", "dask", "numba", "numpy", "xarray", "click", "rich"]
# data first, everything else by keyword; what stands here is a promise
SIGNATURES = {
    "open": "(path: 'str | Path')",
    "ingest": "(src, out, *, frames=None, detectors='sum', resume=False, overwrite=False, progress=None)",
    "from_array": "(counts, *, energy_offset, energy_scale, pixel_size=None, beam_energy=None, attrs=None)",
    "simulate": "(recipe='mantle', *, shape=(180, 180), counts=147.0, seed=0, out=None",
    "find_elements": "(data, *, known=None, among=None, result=None, mask=None",
    "export": "(obj, path, *, format=None, overwrite=False, progress=None)",
    "save": "(data, out, *, overwrite=False, resume=False, progress=None)",
    "to_hyperspy": "(ds, *, lazy=True)",
    "from_hyperspy": "(signal)",
}
EDX_METHODS = {
    "bin",
    "crop",
    "sum_spectrum",
    "line_map",
    "window_map",
    "calibrate",
    "find_elements",
    "valid_mask",
    "to_hyperspy",
}


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def bare(name):
    signature = inspect.signature(getattr(edxdask, name))
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return str(inspect.Signature(plain))


def test_importing_the_package_brings_in_nothing_heavy():
    found = run(f"import edxdask, sys, json; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))")
    assert json.loads(found) == []


@pytest.mark.parametrize("name", ["open", "simulate", "from_array", "EdxdaskError", "sum_spectrum"])
def test_using_a_name_brings_in_no_cluster_no_plots_no_readers(name):
    code = f"import edxdask, sys; edxdask.{name}; print([m for m in {HEAVY[:4]} if m in sys.modules])"
    assert run(code).strip() == "[]"


@pytest.mark.parametrize("name", edxdask.__all__)
def test_every_listed_name_exists_and_is_documented(name):
    value = getattr(edxdask, name)
    assert name in dir(edxdask)
    assert isinstance(value, str) or inspect.getdoc(value)


def test_the_lists_of_names_agree_and_are_sorted():
    assert sorted(edxdask._HOMES) == edxdask.__all__ == sorted(edxdask.__all__)


@pytest.mark.parametrize(("name", "promised"), SIGNATURES.items())
def test_signatures_are_as_promised(name, promised):
    plain = promised.replace(": 'str | Path'", "")
    assert bare(name).startswith(plain)
    kinds = [p.kind for p in inspect.signature(getattr(edxdask, name)).parameters.values()]
    assert kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) <= 2


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = edxdask.nonsense


@pytest.mark.parametrize("first", ["import edxdask, xarray", "import xarray, edxdask"])
def test_datasets_and_collections_have_edx_whichever_package_comes_first(first):
    code = f"""{first}
ds = xarray.Dataset({{"counts": (("y", "x", "energy"), [[[1, 2], [3, 4]]])}}, {{"energy": [0.0, 0.1]}})
tree = xarray.DataTree.from_dict({{"/a": ds}})
print(ds.edx.sum_spectrum().values.tolist(), tree.edx.sum_spectrum()["a"].sum_spectrum.values.tolist())
"""
    assert run(code).strip() == "[4, 6] [4, 6]"


def test_xarray_is_loaded_no_slower_for_the_accessor():
    loaded = run(
        "import edxdask, xarray, sys; print([m for m in ('numba', 'edxdask.ops') if m in sys.modules])"
    )
    assert loaded.strip() == "[]"


def test_the_accessor_offers_the_promised_methods():
    import xarray as xr

    accessor = edxdask.simulate(shape=(8, 8), counts=5).edx
    assert set(dir(accessor)) >= EDX_METHODS
    assert isinstance(accessor.bin(2), xr.Dataset)


@pytest.mark.parametrize(
    "order", ["edxdask.simulate; import edxdask.simulate.mantle", "import edxdask.simulate.mantle"]
)
def test_simulate_stays_the_function_when_its_room_is_imported(order):
    code = f"import edxdask; {order}; print(callable(edxdask.simulate), edxdask.simulate.__module__)"
    assert run(code).strip() == "True edxdask.public"


def test_simulate_writes_a_store_that_holds_the_same_counts(tmp_path):
    written = edxdask.simulate(shape=(20, 70), counts=9, seed=3, out=tmp_path / "a.zarr")
    drawn = edxdask.simulate(shape=(20, 70), counts=9, seed=3)
    assert (written.counts.values == drawn.counts.values).all()
    assert written.attrs["seed"] == 3
    assert written.phase.values.tolist() == drawn.phase.values.tolist()
    assert (edxdask.open(tmp_path / "a.zarr").truth_abundance.values == drawn.truth_abundance.values).all()


def test_options_of_writing_without_a_store_are_refused():
    with pytest.raises(edxdask.EdxdaskError, match="out=None: expected a store"):
        edxdask.simulate(shape=(8, 8), overwrite=True)


@pytest.mark.parametrize("suffix", ["msa", "csv", "png", "pdf"])
def test_a_cube_exported_as_a_spectrum_is_its_sum(tmp_path, suffix):
    ds = edxdask.simulate(shape=(8, 8), counts=20)
    path = edxdask.export(ds, tmp_path / f"s.{suffix}")
    assert path.stat().st_size > 1000
    if suffix == "csv":
        counts = [int(line.split(",")[1]) for line in path.read_text().splitlines()[1:]]
        assert counts == ds.counts.sum(("y", "x")).values.tolist()
    if suffix == "msa":
        assert "#BEAMKV      : 200" in path.read_text()


def test_maps_are_exported_as_pictures(tmp_path):
    ds = edxdask.simulate(shape=(16, 16), counts=50)
    one = edxdask.export(ds.edx.line_map("Mg_Ka"), tmp_path / "one.png")
    many = edxdask.export(ds.edx.line_map(["Mg_Ka", "Fe_Ka"]), tmp_path / "many.svg")
    assert one.read_bytes().startswith(b"\x89PNG")
    assert "<svg" in many.read_text()
