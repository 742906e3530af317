"""
Pan-sharpening NMF, all choices from the data
=============================================

Spectra come from binned photons, maps from all of them. Bin factor and strength of the spatial prior come
from count splitting: one half of the photons is fitted, the other half judges.
"""

import sys
from pathlib import Path

import edxdask

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples")
folder.mkdir(parents=True, exist_ok=True)
cube = edxdask.simulate(shape=(96, 96), counts=60.0, seed=3, out=folder / "sharpen.zarr", overwrite=True)

# %%
# Only the number of phases is given.

result = edxdask.psnmf(cube, phases=3)
print(result.attrs["history"][-1])
print(edxdask.score(result, truth=cube))

# %%
# The same map factorized pixel by pixel, to see what binning and prior improve.

print(edxdask.score(edxdask.nmf(cube, phases=3), truth=cube))

print(edxdask.export(result.abundance, folder / "sharp_abundance.png", overwrite=True))
edxdask.save(result, folder / "sharp_result.zarr", overwrite=True)
