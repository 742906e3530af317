"""
Export to other programs
========================

Write cubes, spectra and maps for other programs. The suffix gives the format.
"""

import sys
from pathlib import Path

import edxdask

# sphinx_gallery_thumbnail_number = 2
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples")
folder.mkdir(parents=True, exist_ok=True)
cube = edxdask.simulate("nanoparticles", shape=(96, 96), counts=80.0)

# %%
# Whole cubes: for HyperSpy, and as Ripple, which nearly every program reads.

for name in ("cube.hspy", "cube.rpl"):
    print(edxdask.export(cube, folder / name, overwrite=True))

# %%
# Where the format is one of spectra, a cube gives its sum spectrum.

for name in ("spectrum.msa", "spectrum.csv", "spectrum.png", "spectrum.svg"):
    print(edxdask.export(cube, folder / name, overwrite=True))

# %%
# Maps: TIFF has a scale that ImageJ reads.

for name in ("gold.tiff", "gold.csv", "gold.png"):
    print(edxdask.export(cube.edx.line_map("Au_La").compute(), folder / name, overwrite=True))

# %%
# With HyperSpy installed (``pip install "edxdask[hyperspy]"``), ``signal = cube.edx.to_hyperspy()`` hands
# the cube over without a file.
