"""What the gallery needs to know of the examples: where they write, and which pictures they wrote."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx_gallery.scrapers import figure_rst

USUAL_FOLDER = "out/examples"  # where an example writes when it is run by hand
WRITTEN = Path(__file__).resolve().parents[2] / "out" / "docs" / "examples"


def folder_for(gallery_conf: dict[str, Any], script_vars: dict[str, Any]) -> list[str]:
    """Give an example the folder to write to, new and empty: its one argument."""
    folder = WRITTEN / Path(script_vars["src_file"]).stem
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return [str(folder)]


def written_pictures(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Show the pictures that a block of an example wrote."""
    folder = WRITTEN / Path(block_vars["src_file"]).stem
    shown = block_vars["example_globals"].setdefault("__shown_pictures__", set())
    copies = []
    for picture in sorted(set(folder.glob("*.png")) - shown, key=lambda path: path.stat().st_mtime_ns):
        shown.add(picture)
        copy = next(block_vars["image_path_iterator"])
        shutil.copyfile(picture, copy)
        copies.append(copy)
    return figure_rst(copies, gallery_conf["src_dir"])


def as_run_by_hand(app: Sphinx, docname: str, source: list[str]) -> None:
    """Let printed paths be those that a reader will see, not those of the machine that built the site."""
    if docname.startswith("generated/gallery/"):
        source[0] = source[0].replace(str(WRITTEN / docname.rpartition("/")[2]), USUAL_FOLDER)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register what happens to the pages of the gallery."""
    app.connect("source-read", as_run_by_hand)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
