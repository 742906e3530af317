"""
Ingest files, and resume what was interrupted
=============================================

Turn files into a store: one map, several maps at once, and one that is interrupted and resumed. A Ripple
file made here replaces the vendor's; Bruker, Velox, JEOL and the others are ingested in the same manner.
"""

import sys
from pathlib import Path

import edxdask

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples")
folder.mkdir(parents=True, exist_ok=True)
drawn = [edxdask.simulate(shape=(150, 70), counts=40.0, seed=seed) for seed in (1, 2)]
files = [
    edxdask.export(cube, folder / f"map_{i}.rpl", overwrite=True) for i, cube in enumerate(drawn, start=1)
]

# %%
# One file is one cube. The store is a plain Zarr v3 group: zarr and xarray read it without edxdask.

cube = edxdask.ingest(files[0], folder / "map_1.zarr", overwrite=True)
print(dict(cube.sizes), cube.attrs["source_file"], cube.attrs["history"])

print(edxdask.export(cube, folder / "map_1.png", overwrite=True))

# %%
# Several files are a collection.

maps = edxdask.ingest(files, folder / "maps.zarr", overwrite=True)
print("maps:", ", ".join(maps.children))

# %%
# Rows come in bands of 64. Finished bands are kept after an interruption, a kill or a full disk. Here a
# progress hook raises what Ctrl-C would raise.


def stop_after_one_band(event):
    """Do what Ctrl-C would do."""
    print(f"{event.label}: {event.done:.0f} of {event.total:.0f} {event.unit}")
    raise KeyboardInterrupt


target = folder / "interrupted.zarr"
try:
    edxdask.ingest(files[0], target, overwrite=True, progress=stop_after_one_band)
except KeyboardInterrupt:
    print("interrupted;", target.name, "is there:", target.exists())

# %%
# The same call with ``resume=True`` continues at the first band that is missing.

resumed = edxdask.ingest(files[0], target, resume=True, progress=lambda event: print(event))
assert (resumed.counts == drawn[0].counts).all(), "a resumed store holds the same counts"
