"""
Name the elements
=================

Which elements a map holds, and phases with spectra made of the lines of these elements.
"""

import sys
from pathlib import Path

import edxdask

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples")
folder.mkdir(parents=True, exist_ok=True)
cube = edxdask.simulate("mantle", shape=(96, 96), counts=147, out=folder / "physics.zarr", overwrite=True)

# %%
# Elements are found in the sum spectrum. Those that are known need no proof.

found = edxdask.find_elements(cube, known=["Mg", "Si"])
print(found[["element", "significance"]].to_dataframe().round(1).to_string())

# %%
# Ferropericlase holds no silicon and Ca-perovskite no magnesium: this identifies the phases.

absent = {"Fp": "Si", "CaPv": "Mg"}
result = edxdask.psnmf(cube, phases=3, bin=8, elements=cube.attrs["elements"], absent=absent)
print((100 * result.composition).round(2).to_pandas().T.to_string())
print((100 * result.composition_std).round(2).to_pandas().T.to_string())
print(edxdask.score(result, truth=cube))
print("the energy axis was moved by", 1000 * result.attrs["energy_offset_step_kev"], "eV")
print(result.edx.export(folder / "phases.png", overwrite=True))
