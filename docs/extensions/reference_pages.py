"""Pages made from the package itself, so that they cannot disagree with it.

The reference of public names by topic, the methods of ``.edx``, the options of every verb, and the tables of
variables and attributes that stores hold.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import edxdask
from edxdask import schema
from edxdask.accessor import OFFERED
from edxdask.cli import cli
from edxdask.cli.app import VERBS
from edxdask.results.kinds import Kind

# where a name lives: the heading it stands under, in the order of the work
TOPICS = {
    "edxdask.public": "Make, open and collect cubes",
    "edxdask.ingestion": "Make, open and collect cubes",
    "edxdask.io": "Make, open and collect cubes",
    "edxdask.io.export.hyperspy": "Exchange with other programs",
    "edxdask.io.export.sparse": "Exchange with other programs",
    "edxdask.report.export": "Exchange with other programs",
    "edxdask.ops": "Operations on cubes",
    "edxdask.factorize": "Phases and components",
    "edxdask.results": "What a result says",
    "edxdask.report": "What a result says",
    "edxdask.reports": "Reports, views and figures",
    "edxdask.view": "Reports, views and figures",
    "edxdask.figures": "Reports, views and figures",
    "edxdask.compositions": "Compositions",
    "edxdask.quantify": "Compositions",
    "edxdask.unmix": "Many maps and traces",
    "edxdask.mosaic": "Mosaics and drift",
    "edxdask.mosaics": "Mosaics and drift",
    "edxdask.alignments": "Tomography",
    "edxdask.tomographies": "Tomography",
    "edxdask.tomo": "Tomography",
    "edxdask.results.volume_statistics": "Tomography",
    "edxdask.cluster": "Clusters",
    "edxdask.errors": "Errors",
}
OTHER = "Further names"
# What readers may type to find a name: words for the search, which are in no title.
ALSO_CALLED = {
    "aided": ["mask"],
    "align_frames": ["drift"],
    "bin_cube": ["bin", "binning"],
    "client_for": ["dask client"],
    "crop_cube": ["crop"],
    "find_elements": ["element"],
    "identifiability": ["uniqueness"],
    "line_map": ["map of a line", "element map"],
    "partition_coefficient": ["partition coefficient"],
    "psnmf": ["unmixing", "pan-sharpening"],
    "quantify": ["composition", "Cliff-Lorimer", "quantification"],
    "reconstruct": ["denoise", "denoising"],
    "total_map": ["counts per pixel"],
    "traces": ["trace elements"],
}
INDEX = """Reference
=========

Every public name is imported from ``edxdask`` itself, such as ``edxdask.psnmf``. Each has a page with its
parameters and an example. Data come first, options are given by keyword, and nothing changes its input.
``edxdask.__version__`` is the version, a text: this site describes {version}.
The methods of ``.edx`` on cubes and results are on :doc:`accessor`.

.. toctree::
   :hidden:

   accessor

"""
GROUP = """{heading}
{line}

.. autosummary::
   :toctree: names
   :nosignatures:

{names}

"""
ACCESSOR = """The methods of ``.edx``
=======================

Import ``edxdask``, and every ``xarray.Dataset`` and ``xarray.DataTree`` has ``.edx``. Which methods it offers
depends on what the object is:

.. list-table::
   :header-rows: 1
   :widths: 30 70

   * - the object
     - methods
{rows}

.. code-block:: python

   import edxdask

   cube = edxdask.simulate(shape=(32, 32), counts=60)
   print(cube.edx)
   spectrum = cube.edx.bin(4).edx.sum_spectrum()

.. currentmodule:: edxdask.accessor

.. autoclass:: Accessor
   :members:
"""


def topic_of(home: str) -> str:
    """Find the heading for what lives in a module: that of the module, or of the nearest package above."""
    parts = home.split(".")
    above = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((TOPICS[name] for name in above if name in TOPICS), OTHER)


def reference(homes: dict[str, str], names: Iterable[str]) -> str:
    """Write the page that lists every public name by topic."""
    groups: dict[str, list[str]] = {topic: [] for topic in (*TOPICS.values(), OTHER)}
    for name in names:
        if not name.startswith("__"):
            groups[topic_of(homes[name])].append(f"   edxdask.{name}")
    pieces = [INDEX.format(version=edxdask.__version__)]
    for heading, listed in groups.items():
        if listed:
            pieces.append(GROUP.format(heading=heading, line="-" * len(heading), names="\n".join(listed)))
    return "".join(pieces)


def accessor() -> str:
    """Write the page of ``.edx``."""
    rows = []
    for kind, methods in OFFERED.items():
        if kind is not Kind.OTHER:
            listed = ", ".join(f":meth:`~edxdask.accessor.Accessor.{name}`" for name in methods)
            rows.append(f"   * - {kind.value}\n     - {listed}")
    return ACCESSOR.format(rows="\n".join(rows))


def command_options() -> str:
    """Write the page with what ``--help`` prints of every verb."""
    pieces = ["# All verbs and their options\n", "What `edxdask VERB --help` prints.\n"]
    context = cli.make_context("edxdask", [], resilient_parsing=True)
    for verb in VERBS:
        command = cli.get_command(context, verb)
        assert command is not None
        with command.make_context(verb, [], parent=context, resilient_parsing=True) as inner:
            inner.max_content_width = 88
            pieces.append(f"## {verb}\n\n```text\n{command.get_help(inner)}\n```\n")
    return "\n".join(pieces)


def variables() -> str:
    """Write the table of the schema's variables."""
    lines = ["| variable | dimensions | units | meaning |", "|---|---|---|---|"]
    for name, spec in schema.VARIABLES.items():
        own = [*(["*pixels*"] if spec.pixels and spec.dims == (schema.ENERGY,) else []), *spec.dims]
        dims = own + (["*pixels*"] if spec.pixels and spec.dims != (schema.ENERGY,) else [])
        units = "" if spec.units == "1" else spec.units
        lines.append(f"| `{name}` | {', '.join(dims) or 'none'} | {units} | {spec.doc} |")
    return "\n".join(lines) + "\n"


def attributes() -> str:
    """Write the table of the schema's attributes."""
    lines = ["| attribute | type | meaning |", "|---|---|---|"]
    lines += [f"| `{n}` | {spec.type.__name__} | {spec.doc} |" for n, spec in schema.ATTRIBUTES.items()]
    return "\n".join(lines) + "\n"


def write_pages(app: Sphinx, _: Any) -> None:
    """Write all pages anew, so that none is left of a name that is no more."""
    os.environ["COLUMNS"] = "88"  # the width that --help is laid out for
    folder = Path(app.srcdir) / "generated"
    shutil.rmtree(folder / "reference", ignore_errors=True)
    pages = {
        "reference/index.rst": reference(edxdask._HOMES, edxdask.__all__),
        "reference/accessor.rst": accessor(),
        "command_options.md": command_options(),
        "tables/variables.md": variables(),
        "tables/attributes.md": attributes(),
    }
    for name, text in pages.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the pages before Sphinx looks for documents."""
    app.connect("config-inited", write_pages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
