"""Write cubes, spectra and maps for other programs; the suffix gives the format."""

import sys
from pathlib import Path

import edxdask

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples")
folder.mkdir(parents=True, exist_ok=True)
cube = edxdask.simulate("nanoparticles", shape=(96, 96), counts=80.0)

for name in ("cube.hspy", "cube.rpl"):  # HyperSpy; Ripple, read by nearly everything
    print(edxdask.export(cube, folder / name, overwrite=True))
for name in ("spectrum.msa", "spectrum.csv", "spectrum.png", "spectrum.svg"):  # of a cube: its sum spectrum
    print(edxdask.export(cube, folder / name, overwrite=True))
for name in ("gold.tiff", "gold.csv", "gold.png"):  # TIFF with a scale that ImageJ reads
    print(edxdask.export(cube.edx.line_map("Au_La").compute(), folder / name, overwrite=True))

# With HyperSpy installed (pip install "edxdask[hyperspy]"): signal = cube.edx.to_hyperspy()
