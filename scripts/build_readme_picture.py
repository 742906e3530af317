"""Build ``docs/demo.png`` from what ``make demo`` drew: line maps, sum spectrum and phases, few colours.

Usage: make demo && .venv/bin/python scripts/build_readme_picture.py [FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
WIDTH, GAP, COLOURS = 900, 20, 128
DRAWN = ("line_maps", "sum_spectrum", "phases")


def main(arguments: list[str]) -> None:
    """Write the picture."""
    folder = Path(arguments[0]) if arguments else ROOT / "out" / "demo"
    parts = [Image.open(folder / f"{name}.png").convert("RGB") for name in DRAWN]
    parts = [p.resize((WIDTH, round(p.height * WIDTH / p.width)), Image.Resampling.LANCZOS) for p in parts]
    picture = Image.new("RGB", (WIDTH, sum(p.height + GAP for p in parts) - GAP), "white")
    top = 0
    for part in parts:
        picture.paste(part, (0, top))
        top += part.height + GAP
    target = ROOT / "docs" / "demo.png"
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1:])
