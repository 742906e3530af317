"""
Tomography: from a tilt series to volumes of phases
===================================================

Reconstruct the volumes of phases straight from the photons of a tilt series. The series is simulated here, so
that the volumes can be compared with the truth; one from a microscope is made of files, one of each tilt:
``edxdask.ingest(files, "maps.zarr")``, then ``edxdask.collect_tilts("maps.zarr")``.
"""

import sys
from pathlib import Path

import numpy as np

import edxdask

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples")
folder.mkdir(parents=True, exist_ok=True)

# %%
# A grain of bridgmanite with particles of ferropericlase, some of which have a core of Ca-perovskite, seen at
# 15 tilts. Every projection has moved by up to 2 pixels.

series = edxdask.simulate(
    "tomography",
    shape=(24, 72),  # rows along the tilt axis, columns
    tilts=np.arange(-70, 71, 10),
    counts=80.0,
    channels=485,
    energy_scale=0.02,
    misaligned={"shift_px": 2.0, "axis_px": 1.0, "rotation_deg": 0.0},
    seed=3,
).load()
print(dict(series.counts.sizes), int(series.counts.sum()), "photons")

# %%
# Spectra come from ``psnmf`` of all projections together, moves from the projections themselves, and the
# strength of the prior from count splitting. Densities turn photons into fractions of voxels.

volume = edxdask.tomography(
    series,
    phases=["Brg", "Fp", "CaPv"],
    elements=series.attrs["elements"],
    absent={"Fp": ["Si", "Ca"], "CaPv": ["Mg"]},
    densities={"Brg": 4.1, "Fp": 3.8, "CaPv": 4.2},
    out=folder / "volume.zarr",
    overwrite=True,
)
volume.edx.plot(title="Volumes of three phases").savefig(folder / "volume.png", dpi=130)

# %%
# Which tilts the volume explains: chi-squared of each, and its reason where one does not fit.

for tilt, chi2, reason in zip(
    volume.tilt.values, volume.tilt_chi2.values, volume.tilt_reason.values, strict=True
):
    print(f"{tilt:+.0f}°  {chi2:.2f}  {reason}")
volume.edx.plot(figure="tilts").savefig(folder / "tilts.png", dpi=110)

# %%
# How much there is of each phase, and how large its particles are.

statistics = volume.edx.statistics()
print(statistics)
print(statistics.particles().loc["Fp"].head(5).round(2))
volume.edx.plot(figure="sizes").savefig(folder / "sizes.png", dpi=110)

# %%
# Beside the truth. The volume lies a little elsewhere: no projection can say where the object was.

print(volume.edx.score(series))

# %%
# For other programs: MRC for tomviz, Chimera and IMOD, OME-Zarr and OME-TIFF for Fiji and napari.

for path in volume.edx.export(folder / "volume.mrc", overwrite=True):
    print(path.name, path.stat().st_size, "bytes")
volume.edx.export(folder / "volume.ome.zarr", overwrite=True)
atoms = volume.edx.atoms(densities={"Brg": 4.1, "Fp": 3.8, "CaPv": 4.2})
print("atoms of Fe in all:", f"{float(atoms.sel(element='Fe').sum()):.3g}")
