"""The rooms of the package: who may import whom, whose vocabulary is spoken, how large a thing may grow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from edxdask import schema

PACKAGE = Path(__file__).resolve().parent.parent / "edxdask"
MODULES = sorted(p for p in PACKAGE.rglob("*.py"))

# A module may import what stands lower; modules of one room may import one another.
LEVELS: dict[str, int] = {
    **dict.fromkeys(
        ("errors", "optional", "portable", "progress", "progress_display", "quiet", "readable"), 0
    ),
    **dict.fromkeys(
        (
            *("schema", "schema_placement", "schema_traces", "schema_volumes"),
            *("budget", "photons", "_lazy", "_version"),
        ),
        0,
    ),
    **dict.fromkeys(("physics", "results"), 1),
    "engine": 2,
    **dict.fromkeys(("io", "ops", "factorize", "mosaic", "quantify", "simulate", "tomo"), 3),
    "unmix": 4,  # joins phases, bases and fits of the stages over many maps
    **dict.fromkeys(("report", "cluster"), 5),
    **dict.fromkeys(("public", "compositions", "ingestion", "mosaics", "alignments", "tomographies"), 6),
    **dict.fromkeys(("figures", "view"), 6),
    "reports": 7,  # quantifies before it draws
    **dict.fromkeys(("accessor", "cli"), 8),
    "_accessor_hook": 9,
    "__main__": 9,
    "__init__": 10,
}
LAID_OUT_AS_ONE = {0}  # the ground floor is one room: its modules may use one another

# Words of the schema that cannot be mistaken for anything else may stand as strings in no other module.
DIMS = {"energy", "y", "x", "tilt", "frame", "phase", "component", "element", "line", "iteration"}
NAMES = set(schema.VARIABLES) | set(schema.ATTRIBUTES)
HOMONYMS = {
    schema.SUM_SPECTRUM,
    schema.PARTITION_COEFFICIENT,
    schema.VENDOR_METADATA,
    schema.ATOMS_PER_VOXEL,
}  # other things too
UNMISTAKABLE = {name for name in NAMES if "_" in name} - HOMONYMS
RECEIVERS = {"ds", "cube", "counts", "result", "attrs", "coords", "sizes", "data_vars", "dims", "chunksizes"}

MOST_BODY_LINES, MOST_MODULE_LINES = 50, 400


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imported_rooms(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and room of every import of this package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                if parts[0] == "edxdask":
                    yield node.lineno, parts[1] if len(parts) > 1 else "__init__"
        elif isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".")
            if node.level:
                yield node.lineno, "a relative import"
            elif parts[0] == "edxdask" and len(parts) > 1:
                yield node.lineno, parts[1]
            elif parts == ["edxdask"]:
                for alias in node.names:
                    yield node.lineno, alias.name


def import_faults(source: str, room: str) -> list[str]:
    faults = []
    for line, target in imported_rooms(ast.parse(source)):
        if target not in LEVELS:
            faults.append(f"line {line}: {room} imports {target}, which is no room")
        elif target != room and LEVELS[target] == LEVELS[room] and LEVELS[room] not in LAID_OUT_AS_ONE:
            faults.append(f"line {line}: {room} imports {target} beside it")
        elif LEVELS[target] > LEVELS[room]:
            faults.append(f"line {line}: {room} imports {target} above it")
    return faults


def parameter_names(tree: ast.AST) -> set[int]:
    """Strings that name a parameter of the function they stand in: what ParameterError is told."""
    excused = set()
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            arguments = function.args
            names = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
            excused |= {id(n) for n in ast.walk(function) if isinstance(n, ast.Constant) and n.value in names}
    return excused


def spelling_faults(source: str) -> list[str]:
    tree = ast.parse(source)
    excused = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)} | parameter_names(tree)
    faults = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in UNMISTAKABLE and id(node) not in excused:
            faults.append(f"line {node.lineno}: {node.value!r}")
        if not (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)):
            continue
        receiver = node.value
        name = receiver.attr if isinstance(receiver, ast.Attribute) else getattr(receiver, "id", "")
        if name in RECEIVERS and node.slice.value in (NAMES | DIMS) - UNMISTAKABLE:
            faults.append(f"line {node.lineno}: {name}[{node.slice.value!r}]")
    return faults


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def size_faults(source: str) -> list[str]:
    lines = source.count("\n")
    faults = [f"{lines} lines, at most {MOST_MODULE_LINES}"] if lines > MOST_MODULE_LINES else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and body_lines(node) > MOST_BODY_LINES:
            faults.append(
                f"line {node.lineno}: {node.name} has {body_lines(node)} lines, at most {MOST_BODY_LINES}"
            )
    return faults


def named(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_imports_point_down_and_never_between_stages(path):
    assert import_faults(path.read_text(), room_of(path)) == []


# The folders of factorize/ in the order of the method: each may use itself and those before it.
METHOD = (
    "kernels",
    "spectra",
    "iteration",
    "components",
    "priors",
    "identifiability",
    "guidance",
    "pansharpening",
)
FACTORIZE = PACKAGE / "factorize"


def folder_faults(source: str, folder: str) -> list[str]:
    """Imports within factorize/ that go to a later folder, or up to the public methods."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("edxdask.factorize"):
            target = (node.module or "").split(".")[2]
            if target not in METHOD or METHOD.index(target) > METHOD.index(folder):
                found.append(f"line {node.lineno}: {folder} imports {target}")
    return found


@pytest.mark.parametrize("path", sorted(FACTORIZE.glob("*/*.py")), ids=named)
def test_folders_of_factorize_build_on_those_before_them(path):
    assert folder_faults(path.read_text(), path.parent.name) == []


def test_the_folders_of_factorize_are_read_in_the_order_of_the_method():
    assert {path.parent.name for path in FACTORIZE.glob("*/__init__.py")} == set(METHOD)
    text = ast.get_docstring(ast.parse((FACTORIZE / "__init__.py").read_text())) or ""
    places = [text.index(f"``{folder}``") for folder in METHOD[1:]]
    assert places == sorted(places)
    fault = "from edxdask.factorize.guidance.fit import settle"
    assert folder_faults(fault, "iteration") == ["line 1: iteration imports guidance"]
    assert folder_faults(fault, "pansharpening") == []


@pytest.mark.parametrize("path", [p for p in MODULES if not p.name.startswith("schema")], ids=named)
def test_names_of_the_schema_are_not_spelled_as_strings(path):
    assert spelling_faults(path.read_text()) == []


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_functions_and_modules_stay_small(path):
    assert size_faults(path.read_text()) == []


def test_one_map_or_many_is_asked_in_one_place():
    asking = [
        f"{named(path)}: {line.strip()}"
        for path in MODULES
        if room_of(path) != "results"
        for line in path.read_text().splitlines()
        if "isinstance(" in line and "DataTree" in line
    ]
    assert len(asking) <= 3, asking


@pytest.mark.parametrize(
    ("room", "source", "fault"),
    [
        ("ops", "from edxdask.io import store", "ops imports io beside it"),
        ("ops", "import edxdask.simulate.mantle", "ops imports simulate beside it"),
        ("photons", "from edxdask.engine.step import BlockStep", "photons imports engine above it"),
        ("schema", "def f():\n    from edxdask import public", "schema imports public above it"),
        ("physics", "from edxdask.cellar import x", "physics imports cellar, which is no room"),
        ("engine", "import edxdask", "engine imports __init__ above it"),
    ],
)
def test_the_import_check_finds_what_it_is_for(room, source, fault):
    (found,) = import_faults(source, room)
    assert found.endswith(fault)


def test_the_import_check_lets_pass_what_points_down():
    source = (
        "import numpy\nfrom edxdask.schema import X\nfrom edxdask.io.a import a\nfrom edxdask import errors"
    )
    assert import_faults(source, "io") == []
    assert import_faults("from edxdask.errors import EdxdaskError", "schema") == []


def test_the_spelling_check_finds_bare_names_and_leaves_docstrings_and_other_words():
    assert spelling_faults('ds["counts"]') == ["line 1: ds['counts']"]
    assert spelling_faults('x = ds.sizes["energy"]') == ["line 1: sizes['energy']"]
    assert spelling_faults('d.get("beam_energy_kev")') == ["line 1: 'beam_energy_kev'"]
    assert spelling_faults('def f(thickness_nm):\n    raise E("thickness_nm", thickness_nm)') == []
    assert spelling_faults('"""beam_energy_kev"""\nkind = "counts"\ntree["title"] = 1') == []


def test_the_size_check_counts_bodies_without_docstrings():
    body = "    x = 1\n" * MOST_BODY_LINES
    assert size_faults(f'def f():\n    """Doc.\n\n    More.\n    """\n{body}') == []
    (fault,) = size_faults(f"def f():\n{body}    x = 2\n")
    assert "51 lines" in fault
    assert size_faults("\n" * 401) == ["401 lines, at most 400"]


def test_no_two_classes_have_one_name():
    """A name says what a thing is; private classes are their module's own business."""
    places: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(named(path))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_no_two_files_of_tests_have_the_same_name():
    """pytest takes a file's name for its module's: it collects only one of two."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
