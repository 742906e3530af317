"""
Simulate a map and look at it
=============================

A map with known truth, its sum spectrum and the maps of some lines. Writes pictures to the folder given,
else to out/examples.
"""

import sys
from pathlib import Path

import edxdask

# sphinx_gallery_thumbnail_number = 2
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples")
folder.mkdir(parents=True, exist_ok=True)

# %%
# Nothing is drawn yet: counts are lazy, and a pixel has the same photons in any chunking.

cube = edxdask.simulate("mantle", shape=(128, 128), counts=147.0, seed=1)
print(cube)

# %%
# Sum spectrum and line maps. The background beside each line is subtracted.

spectrum = cube.edx.sum_spectrum().compute()
print(f"{int(spectrum.sum())} photons, {float(spectrum.sum()) / (128 * 128):.0f} in a pixel")

maps = cube.edx.line_map(["Mg_Ka", "Ca_Ka", "Fe_Ka"])
print(edxdask.export(cube, folder / "sum_spectrum.png", overwrite=True))
print(edxdask.export(maps, folder / "line_maps.png", overwrite=True))

# %%
# The cube holds the truth, too, under names that start with ``truth_``.

print(cube.truth_composition.sel(phase="Fp").to_series().round(3))
