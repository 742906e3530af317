"""
Several maps in one store
=========================

Operations on a collection work on each of its maps. Sizes may differ.
"""

import sys
from pathlib import Path

import xarray as xr

import edxdask

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples")
folder.mkdir(parents=True, exist_ok=True)
maps = {
    "left": edxdask.simulate(shape=(64, 100), counts=50.0, seed=3),
    "right": edxdask.simulate(shape=(64, 80), counts=50.0, seed=4),
}
tree = edxdask.save(xr.DataTree.from_dict(maps), folder / "collection.zarr", overwrite=True)

# %%
# The same calls as for one map.

binned = tree.edx.bin(2)
spectra = tree.edx.sum_spectrum(mask=tree.edx.valid_mask(min_counts=20))
for name in tree.children:
    print(name, dict(binned[name].counts.sizes), int(spectra[name].sum_spectrum.sum()), "photons")

# %%
# Pictures of a collection show its maps side by side.

print(edxdask.export(tree, folder / "maps.png", overwrite=True))
