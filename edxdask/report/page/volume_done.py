"""What was done to make a volume: settings, lines that repeat it, a methods paragraph."""

from __future__ import annotations

import platform
import shlex
from importlib import metadata

import xarray as xr

from edxdask import schema
from edxdask._version import __version__
from edxdask.readable import si
from edxdask.report.page.done import PACKAGES
from edxdask.report.page.methods import PSNMF, SOFTWARE
from edxdask.report.page.parts import Block, Code, Note, Section, Table
from edxdask.report.page.steps import steps_of
from edxdask.report.page.volume import MEANING, VolumeEvidence
from edxdask.report.page.words import number_of
from edxdask.results.voxels import voxel_grid

SERIES, VOLUME = "series.zarr", "volume.zarr"
NAMES = {
    schema.TILT_AXIS: "tilt axis along",
    schema.TILT_AXIS_DEG: "turned by, °",
    schema.VOLUME_PRIOR: "prior",
    schema.VOLUME_STRENGTH: "its strength",
    schema.BEAM_ENERGY: "beam energy, keV",
    schema.SEED: "seed",
    schema.RECIPE: "simulated with the recipe",
    schema.SOURCE_FILE: "source",
}
EXPECTATION = (
    "H. M. Hudson, R. S. Larkin, Accelerated image reconstruction using ordered subsets of projection data, "
    "IEEE Trans. Med. Imaging 13 (1994) 601."
)
PRIMAL_DUAL = (
    "A. Chambolle, T. Pock, A first-order primal-dual algorithm for convex problems with applications to "
    "imaging, J. Math. Imaging Vis. 40 (2011) 120."
)
DISTANCE_DRIVEN = (
    "B. De Man, S. Basu, Distance-driven projection and backprojection in three dimensions, Phys. Med. Biol. "
    "49 (2004) 2463."
)
SURFACES = (
    "J. Ohser, F. Mücklich, Statistical analysis of microstructures in materials science, Wiley (2000) "
    "(surfaces after Crofton)."
)


def volume_done(evidence: VolumeEvidence) -> Section:
    """Make the last section."""
    volume = evidence.volume
    history = volume.attrs.get(schema.HISTORY, [])
    lines = [history] if isinstance(history, str) else [str(line) for line in history]
    made = evidence.origin.data or VOLUME
    series, labels = evidence.origin.cube or SERIES, evidence.overview.labels
    steps = steps_of(lines, cube=series, result=made, labels=labels)
    begins = any(step.python.startswith("cube = ") for step in steps)
    opened = [] if begins else [f"cube = edxdask.open({series!r})"]
    commands = [
        *(step.command for step in steps),
        shlex.join(["edxdask", "report", made, "-o", "report.html"]),
    ]
    shown = "edxdask.report(volume, 'report.html')"
    python = ["import edxdask", "", *opened, *(step.python for step in steps), shown]
    paragraph, references = volume_methods(volume)
    blocks: list[Block] = [
        Table(("", ""), _facts(volume)),
        Code("\n".join(commands), "The commands that repeat this"),
        Code("\n".join(python), "The same in Python"),
        Note("Methods, to paste into a paper", "head"),
        Note(paragraph),
        Code("\n".join(references), "References"),
    ]
    return Section("done", "What was done", blocks)


def volume_methods(volume: xr.Dataset) -> tuple[str, list[str]]:
    """Write the paragraph, its citations as numbers in brackets, and the list of references."""
    references = [SOFTWARE, PSNMF, EXPECTATION, DISTANCE_DRIVEN]
    count = number_of(volume.sizes[schema.PHASE], "phase")
    series = ""
    if schema.TILT in volume.coords:
        tilts = volume[schema.TILT].values.astype(float)
        series = f" from {len(tilts)} projections between {tilts.min():.4g}° and {tilts.max():.4g}°"
    parts = [
        f"Volumes of {count} were reconstructed with edxdask {__version__} [1]{series}: spectra from the "
        "pan-sharpening non-negative matrix factorization of all projections [2], then all photons fitted "
        "together by Poisson likelihood with ordered subsets [3] and a distance-driven projector [4]; moves "
        "of the projections were part of the model, and no photon was resampled."
    ]
    strength = volume.attrs.get(schema.VOLUME_STRENGTH)
    if volume.attrs.get(schema.VOLUME_PRIOR) == "tv" and strength is not None:
        references.append(PRIMAL_DUAL)
        parts.append(
            f"The prior was total variation in three dimensions of strength {float(strength):.3g} "
            f"[{len(references)}], the same for all phases."
        )
    references.append(SURFACES)
    parts.append(
        f"Particles are connected voxels at or above the threshold; surfaces after [{len(references)}]."
    )
    return " ".join(parts), [f"[{i}] {text}" for i, text in enumerate(references, start=1)]


def _facts(volume: xr.Dataset) -> list[tuple[str, str]]:
    grid = voxel_grid(volume)
    shape = " × ".join(map(str, grid.shape))
    side = f", {grid.sides[2]:.4g} nm each" if grid.unit == "nm" else ""
    rows = [("voxels (z, y, x)", shape + side)]
    rows.append(("values", MEANING[str(volume.attrs[schema.VOLUME_KIND])]))
    if schema.PHOTONS_PER_VOXEL in volume:
        pairs = zip(volume[schema.PHASE].values, volume[schema.PHOTONS_PER_VOXEL].values, strict=True)
        rows.append(
            ("photons of a full voxel", ", ".join(f"{name} {si(float(n)).strip()}" for name, n in pairs))
        )
    for key, name in NAMES.items():
        value = volume.attrs.get(key)
        if value not in (None, ""):
            rows.append((name, f"{value:.4g}" if isinstance(value, float) else str(value)))
    if schema.OBJECTIVE in volume:
        ended = "converged" if volume.attrs.get(schema.VOLUME_CONVERGED) else "not converged"
        rows.append(("passes over the photons", f"{volume[schema.OBJECTIVE].size}, {ended}"))
    made = str(volume.attrs.get(schema.EDXDASK_VERSION, ""))
    rows.append(
        ("edxdask", __version__ + (f" (volume made by {made})" if made not in ("", __version__) else ""))
    )
    rows.append(("Python", platform.python_version()))
    rows.append(("packages", ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)))
    return rows
