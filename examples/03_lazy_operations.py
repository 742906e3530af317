"""
Bin, crop, calibrate and mask without loading
=============================================

Operations on a store. Every one gives a new Dataset or DataArray; nothing is read before ``.compute()``,
save or export.
"""

import sys
from pathlib import Path

import edxdask

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples")
folder.mkdir(parents=True, exist_ok=True)
cube = edxdask.simulate(shape=(130, 200), counts=60.0, out=folder / "operations.zarr", overwrite=True)

# %%
# Ranges are in nm and keV.

smaller = cube.edx.crop(y=(0.0, 480.0), energy=(0.4, 9.0)).edx.bin(4)
print("cropped and binned:", dict(smaller.counts.sizes))

# %%
# Refine the energy axis on lines that are surely there. This operation computes: it needs the sum
# spectrum.

calibrated = smaller.edx.calibrate(["O_Ka", "Si_Ka", "Fe_Ka"])
print(calibrated.attrs["history"][-1])

# %%
# Masks: pixels with enough photons, inside a region of interest (nm), and their algebra.

enough = cube.edx.valid_mask(min_counts=30)
inside = edxdask.Ellipse(centre=(260.0, 400.0), radii=(120.0, 200.0))
both = edxdask.combine_masks(cube, [enough, inside], how="intersection")
print(f"{int(both.sum())} of {both.size} pixels count")

# %%
# A sum spectrum of these pixels, and a map between two energies above a background that you choose.

spectrum = cube.edx.sum_spectrum(mask=both)
window = cube.edx.window_map(6.25, 6.55, background=[(5.9, 6.1), (6.7, 6.9)])
print(edxdask.export(spectrum.compute(), folder / "ellipse.msa", overwrite=True))
print(edxdask.export(window.compute(), folder / "fe_window.png", overwrite=True))

# %%
# What was made of a cube can be saved as a separate store.

print(dict(edxdask.save(smaller, folder / "binned.zarr", overwrite=True).counts.sizes))
