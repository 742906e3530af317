"""
Masks, sums over maps, and traces
=================================

NMF-aided unmixing: two neighbours of one sample are unmixed together. Then the matrix is taken where
nothing else is, and the spectrum of each precipitate is that of its mask minus the matrix.
"""

import sys
from pathlib import Path

import edxdask

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "out/examples")
folder.mkdir(parents=True, exist_ok=True)
elements = ["O", "Mg", "Al", "Si", "Ca", "Fe", "Nd", "Sm", "U", "Cu"]
absent = {"Fp": "Si", "CaPv": "Mg"}
maps = edxdask.collect(
    {
        name: edxdask.simulate(shape=(64, 64), counts=150, seed=seed)
        for seed, name in enumerate(("left", "right"))
    }
)

# %%
# Phases that both maps share.

phases = edxdask.psnmf(
    maps, phases=["Brg", "Fp", "CaPv"], elements=elements, absent=absent, bin=4, smooth=1.0
)

# %%
# Otsu's threshold needs no extra package; ``masks="potts"`` finds weaker grains (``pip install
# 'edxdask[masks]'``).

result = edxdask.aided(maps, matrix="Brg", absent=absent, result=phases, masks="otsu")
print(result.attrs["core_choice"])
print(result.edx.table())

# %%
# Two methods give the composition of the matrix: the fit of all groups, and the subtracted sums.

for method in ("composition", "composition_subtracted"):
    nd, error = (
        100 * float(result[name].sel(phase="Brg", element="Nd")) for name in (method, f"{method}_std")
    )
    print(f"Nd in Brg, {method}: {nd:.3f} ± {error:.3f} at.%")

print(edxdask.export(result, folder / "masks.png", figure="masks", overwrite=True))
edxdask.save(result, folder / "aided.zarr", overwrite=True)
