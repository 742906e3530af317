"""
Drift of frames, and energy axes that differ
============================================

Correct the drift between frames, and put maps with separate energy axes on one. Of a Velox or JEOL file,
``edxdask.ingest("map.emd", "map.zarr", align=True)`` does the first on the way into the store. In both,
photons stay whole: they move by whole pixels, or to a random place within their channel.
"""

import sys
from pathlib import Path

import numpy as np
import xarray as xr

import edxdask

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples")
folder.mkdir(parents=True, exist_ok=True)

# %%
# Frames that drift: windows of a larger map, each a little further on.

field = edxdask.simulate(shape=(88, 88), counts=4.0, channels=485, energy_scale=0.02).load()
mean = field.truth_total * field.truth_abundance
mean = np.tensordot(mean.transpose("y", "x", "phase").values, field.truth_spectrum.values, axes=1)
path = np.outer(np.arange(12), (1, -1))  # how far the sample has moved, px
rng = np.random.default_rng(0)
windows = [mean[12 - y : 76 - y, 12 - x : 76 - x] for y, x in path]
counts = rng.poisson(np.stack(windows)).astype(np.uint16)
frames = xr.Dataset({"counts": (("frame", "y", "x", "energy"), counts)}, {"energy": field.energy})

# %%
# There is no image here, so frames are registered on their photons: on spectra, as the film is even.

aligned = edxdask.align_frames(frames)
off = aligned.drift.values - path
print("path found to", np.round((off - off.mean(axis=0)).std(), 2), "px;", aligned.attrs["history"][-1])
print("photons:", int(aligned.counts.sum()), "of", counts.sum())
print("seen by", int(aligned.exposure.min()), "to", int(aligned.exposure.max()), "frames")
aligned.edx.plot(figure="drift", title="12 frames").savefig(folder / "drift.png")

# %%
# Neighbouring maps whose energy axes differ: shared spectra need one axis.

left = edxdask.simulate(shape=(32, 32), counts=150.0, seed=1)
right = edxdask.simulate(shape=(24, 40), counts=150.0, seed=2, energy_offset=0.31, energy_scale=0.0101)
maps = edxdask.collect({"left": left, "right": right})
try:
    edxdask.nmf(maps, phases=3)
except edxdask.EdxdaskError as error:
    print(error)
together = edxdask.rebin_energy(maps)  # with elements=[...] each map's axis is calibrated first
result = edxdask.nmf(together, phases=3, max_iter=30)
print({name: one.abundance.shape for name, one in result.children.items()})
