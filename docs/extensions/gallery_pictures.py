"""What the gallery needs to know of the examples: where they write, and which pictures they wrote."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sphinx_gallery.scrapers import figure_rst

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
