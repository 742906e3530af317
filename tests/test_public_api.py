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
    "ingest": "(src, out, *, frames=None, detectors='sum', align=False",
    "align_frames": "(data, *, image=None, group=None, max_step_px=None, drop_bad_frames=False",
    "from_array": "(counts, *, energy_offset, energy_scale, pixel_size=None, beam_energy=None, attrs=None)",
    "simulate": "(recipe='mantle', *, shape=(180, 180), counts=147.0, seed=0, out=None",
    "find_elements": "(data, *, known=None, among=None, result=None, mask=None",
    "export": "(data, path, *, format=None, overwrite=False, progress=None, figure=None)",
    "report": "(data, path='report.html', *, cube=None, overwrite=False, progress=None)",
    "save": "(data, out, *, overwrite=False, resume=False, progress=None)",
    "to_hyperspy": "(data, *, lazy=True, counts=None)",
    "from_hyperspy": "(signal, *, decomposition=False)",
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
    "report",
}


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)
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


# Written by name until their docstrings are in the form that the test below asks for.
# What these begin with is no cube and no result.
OTHER_FIRST_ARGUMENTS = {
    "client_for": "scheduler",
    "diagnose": "path",
    "from_array": "counts",
    "from_hyperspy": "signal",
    "ingest": "src",
    "open": "path",
    "simulate": "recipe",
}
CALLABLES = [name for name in edxdask.__all__ if callable(getattr(edxdask, name))]
FUNCTIONS = [name for name in CALLABLES if inspect.isfunction(getattr(edxdask, name))]


def section(doc, title):
    """Lines of one section of a numpydoc docstring."""
    lines = doc.splitlines()
    heads = [i for i in range(len(lines) - 1) if lines[i + 1] and set(lines[i + 1]) == {"-"}]
    for i, end in zip(heads, [*heads[1:], len(lines)], strict=True):
        if lines[i] == title:
            return lines[i + 2 : end]
    return []


def documented(doc):
    """Parameters written as ``name : type`` with the meaning indented below."""
    lines = section(doc, "Parameters")
    return {
        line.partition(" : ")[0].lstrip("*")
        for line, below in zip(lines, [*lines[1:], ""], strict=True)
        if not line.startswith(" ") and line.partition(" : ")[2] and below.startswith("    ")
    }


def docstring_faults(value):
    doc = inspect.getdoc(value) or ""
    faults = [] if ">>>" in "\n".join(section(doc, "Examples")) else ["has no example"]
    if isinstance(value, type) and issubclass(value, Exception):
        return faults
    wanted = set(inspect.signature(value).parameters)
    found = documented(doc)
    faults += [f"{name} is not documented as 'name : type'" for name in sorted(wanted - found)]
    return faults + [f"{name} is documented and no parameter" for name in sorted(found - wanted)]


def test_every_parameter_is_documented_with_its_type_and_every_name_has_an_example():
    faults = {name: docstring_faults(getattr(edxdask, name)) for name in CALLABLES}
    assert {name: f for name, f in faults.items() if f} == {}


def test_the_docstring_check_finds_what_it_is_for():
    def short(data, *, factor=1):
        """Do.

        Parameters
        ----------
        data : cube
        width : float
            Of nothing.
        """

    assert docstring_faults(short) == [
        "has no example",
        "data is not documented as 'name : type'",
        "factor is not documented as 'name : type'",
        "width is documented and no parameter",
    ]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_first_argument_is_called_data_or_result(name):
    first = next(iter(inspect.signature(getattr(edxdask, name)).parameters))
    assert first == OTHER_FIRST_ARGUMENTS.get(name, first if first in ("data", "result") else "data")


def test_no_accessor_method_differs_from_its_function(tmp_path):
    """What ``.edx`` gives of a collection is what the function gives."""
    import xarray as xr

    one = edxdask.simulate(shape=(8, 8), counts=30, seed=1).load()
    tree = edxdask.collect({"a": one, "b": one.isel(x=slice(4))})
    pairs = (
        (tree.edx.bin(2), edxdask.bin_cube(tree, 2)),
        (tree.edx.crop(energy=(1, 5)), edxdask.crop_cube(tree, energy=(1, 5))),
        (tree.edx.sum_spectrum(), edxdask.sum_spectrum(tree)),
        (tree.edx.maximum_pixel_spectrum(), edxdask.maximum_pixel_spectrum(tree)),
        (tree.edx.total_map(), edxdask.total_map(tree)),
        (tree.edx.valid_mask(20), edxdask.valid_mask(tree, min_counts=20)),
        (tree.edx.line_map("Mg_Ka"), edxdask.line_map(tree, "Mg_Ka")),
        (tree.edx.window_map(1, 2), edxdask.window_map(tree, 1, 2)),
    )
    for method, function in pairs:
        assert isinstance(method, xr.DataTree)
        xr.testing.assert_identical(method, function)
        assert list(method.children) == ["a", "b"]
    assert edxdask.export(tree, tmp_path / "s.msa") == [tmp_path / "s_a.msa", tmp_path / "s_b.msa"]


def test_collect_takes_cubes_and_stores_under_their_names(tmp_path):
    one = edxdask.simulate(shape=(4, 5), counts=30, seed=1, out=tmp_path / "one.zarr")
    tree = edxdask.collect(
        {"second": tmp_path / "one.zarr", "first": one, "text": str(tmp_path / "one.zarr")}
    )
    assert list(tree.children) == ["second", "first", "text"]
    assert tree["second"].counts.chunks is not None
    assert (tree["text"].counts.values == one.counts.values).all()
    saved = edxdask.save(tree, tmp_path / "tree.zarr")
    assert sorted(saved.children) == ["first", "second", "text"]


@pytest.mark.parametrize(
    ("maps", "says"),
    [
        ({}, "one map or more by name"),
        ([1], "one map or more by name"),
        ({"": None}, "not empty and has no slash"),
        ({"a/b": None}, "not empty and has no slash"),
        ({1: None}, "not empty and has no slash"),
        ({"..": None}, "not empty and has no slash"),
        ({"a": 3}, "data['a']='int': expected a Dataset"),
        ({"a": "no such.zarr"}, "there is no such store"),
    ],
)
def test_what_is_no_map_is_not_collected(maps, says):
    with pytest.raises(edxdask.EdxdaskError) as caught:
        edxdask.collect(maps)
    assert says in str(caught.value)


def test_collect_names_the_line_that_ingests_a_vendor_file_and_refuses_results(tmp_path):
    (tmp_path / "c.emd").write_bytes(b"\x89HDF")
    with pytest.raises(edxdask.EdxdaskError, match=r"edxdask\.ingest\('.*c\.emd', '.*c\.zarr'\)"):
        edxdask.collect({"c": tmp_path / "c.emd"})
    result = edxdask.nmf(edxdask.simulate(shape=(8, 8), counts=30), phases=2, max_iter=2)
    with pytest.raises(edxdask.EdxdaskError, match="is it a result, not a cube"):
        edxdask.collect({"r": result})
    edxdask.save(edxdask.collect({"a": edxdask.simulate(shape=(4, 4))}), tmp_path / "tree.zarr")
    with pytest.raises(edxdask.EdxdaskError, match="a store of one map"):
        edxdask.collect({"t": tmp_path / "tree.zarr"})
