"""
Neighbouring maps on one canvas
===============================

A mosaic: maps are placed by their images, and counts are added where they overlap.
"""

import sys
from pathlib import Path

import numpy as np

import edxdask

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples")
folder.mkdir(parents=True, exist_ok=True)

# %%
# Four maps of one film, each a few pixels off the grid that the stage was asked for. Then their places
# are forgotten.

film = edxdask.simulate(shape=(130, 130), counts=60.0, grain=10, channels=400, energy_scale=0.025, seed=5)
haadf = np.tensordot([0.4, 1.0, 2.2], film.truth_abundance.values, axes=1)
film["haadf"] = (("y", "x"), (haadf + 0.02 * np.random.default_rng(0).normal(size=haadf.shape)).astype("f4"))
corners = {"map 1": (2, 0), "map 2": (0, 56), "map 3": (55, 3), "map 4": (57, 54)}
maps = {
    name: film[["counts", "haadf"]].isel(y=slice(y, y + 72), x=slice(x, x + 72))
    for name, (y, x) in corners.items()
}
maps = {name: one.assign_coords(y=film.y[:72], x=film.x[:72]) for name, one in maps.items()}
tree = edxdask.save(edxdask.collect(maps), folder / "neighbours.zarr", overwrite=True)

# %%
# Each place has an error.

mosaic = edxdask.mosaic(tree, image="haadf", grid="2x2", overlap=0.22, prior_px=4)
for name, place, std in zip(
    mosaic.tile.values, mosaic.tile_position.values, mosaic.tile_position_std.values, strict=True
):
    print(f"{name}: begins at row {place[0]:.2f} ± {std[0]:.2f}, column {place[1]:.2f} ± {std[1]:.2f}")

# %%
# A mosaic is a store like any other: psnmf, quantify and find_elements take it. Counts divided by
# ``exposure`` show no bright overlaps.

saved = edxdask.save(mosaic, folder / "mosaic.zarr", overwrite=True)
assert int(saved.counts.sum()) == sum(int(one.counts.sum()) for one in tree.children.values())
iron = saved.edx.line_map("Fe_Ka") / saved.exposure.where(saved.exposure > 0)
print("Fe Kα, counts per pixel and exposure:", f"{float(iron.mean()):.2f}")
print(edxdask.export(saved, folder / "placement.png", figure="placement", overwrite=True))
print(edxdask.export(saved, folder / "mosaic.ome.tiff", overwrite=True))
