"""
Components first, then phases
=============================

Unmix a map: principal components say how many phases there are; NMF finds them. Both are compared with
the truth of the simulation.
"""

import sys
from pathlib import Path

import edxdask

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples")
folder.mkdir(parents=True, exist_ok=True)
cube = edxdask.simulate(shape=(96, 96), counts=147.0, seed=2, out=folder / "mixed.zarr", overwrite=True)

# %%
# Counts are scaled so that noise has variance 1 in every direction; with so few pixels and so many
# channels it reaches (1 + √(channels / pixels))² = 1.75. Three components are above that.

components = edxdask.pca(cube, components=4)
print("variance along components:", components.explained_variance.values[:6].round(2))

# %%
# Phases: spectra that sum to 1 and abundances that sum to 1 in every pixel. Bins of 4 × 4 pixels hold
# enough photons for good spectra ...

binned = cube.edx.bin(4)
coarse = edxdask.nmf(binned, phases=3)
print(edxdask.score(coarse, truth=binned))

# %%
# ... and with known spectra every pixel of the map gets its abundances.

phases = edxdask.fcls(cube, coarse, loss="kl")
print(edxdask.score(phases, truth=cube))
print(edxdask.export(phases.abundance, folder / "abundance.png", overwrite=True))

# %%
# What the phases do not explain, as a lazy cube: unexpected lines would be here.

left = edxdask.residual(cube, phases)
print(left.residual)
