"""The verdict on a volume: what was found, what speaks against it, and what the data do not support."""

from __future__ import annotations

import numpy as np

from edxdask import schema
from edxdask.readable import grouped
from edxdask.report.page.parts import Block, Note, Section
from edxdask.report.page.verdict import LOOK, MOST_NAMED
from edxdask.report.page.volume import VolumeEvidence
from edxdask.report.page.words import listed, number_of, sentence, with_unit
from edxdask.report.summary import warnings_of
from edxdask.results.volumes import VOXELS, is_fraction

RESOLVED = 0.5  # of a voxel: a phase that is nowhere more has no surface
TILT_RANGE = 100.0  # degrees: below, what lies along the beam is drawn out badly
FEW_PHOTONS = 5.0  # per pixel and tilt, where the smallest phase may be lost


def volume_verdict(evidence: VolumeEvidence) -> Section:
    """Make the section that comes first."""
    doubts, found = volume_concerns(evidence), _found(evidence)
    if doubts:
        blocks: list[Block] = [Note(f"{sentence(f'{LOOK}: {listed(doubts)}')} {sentence(found)}", "warning")]
    else:
        explained = "The volume explains every tilt: look at the planes, then at the sizes of particles"
        blocks = [Note(f"{sentence(found)} {sentence(explained)}", "good")]
    blocks += [Note(text, "warning") for text in warnings_of(evidence.volume)]
    return Section("verdict", "Verdict", blocks)


def bad_tilts(evidence: VolumeEvidence) -> list[float]:
    """Tilts that the volume does not explain."""
    volume = evidence.volume
    if schema.TILT_FITS not in volume:
        return []
    fits = volume[schema.TILT_FITS].values.astype(bool)
    return [float(tilt) for tilt in volume[schema.TILT].values[~fits]]


def volume_concerns(evidence: VolumeEvidence) -> list[str]:
    """List what makes the volume less sure, most serious first, in a few words each."""
    volume, found = evidence.volume, []
    if volume.attrs.get(schema.VOLUME_CONVERGED) == 0:
        found.append("the fit had not converged")
    bad = bad_tilts(evidence)
    if bad:
        verb = "does not fit" if len(bad) == 1 else "do not fit"
        found.append(f"the tilts {listed([f'{tilt:.4g}°' for tilt in bad], most=MOST_NAMED)} {verb}")
    found += _of_fractions(evidence)
    found += _of_the_series(evidence)
    others = len(warnings_of(volume))
    if others:
        verb = "is" if others == 1 else "are"
        found.append(f"there {verb} {number_of(others, 'warning')} below")
    return found


def _of_fractions(evidence: VolumeEvidence) -> list[str]:
    """Phases that have no surface of their own, and objects that the field cuts."""
    found = []
    unclear = [
        label
        for label, values in zip(evidence.overview.labels, evidence.overview.values, strict=True)
        if values.max() < RESOLVED
    ]
    if unclear and is_fraction(evidence.volume):
        verb = "fills" if len(unclear) == 1 else "fill"
        found.append(f"{listed(unclear)} nowhere {verb} half of a voxel, so the place is not resolved")
    values = evidence.overview.values.sum(axis=0)
    sides = [dim for axis, dim in enumerate(VOXELS) if dim != _along(evidence) and _cut(values, axis)]
    if sides:
        found.append(f"the object goes on beyond the volume along {listed(sides)}")
    return found


def _along(evidence: VolumeEvidence) -> str:
    """Dimension of the tilt axis, along which an object may well go on."""
    return str(evidence.volume.attrs.get(schema.TILT_AXIS, schema.Y))


def _cut(values: np.ndarray, axis: int) -> bool:
    """Whether there is much at either end of an axis."""
    if values.shape[axis] < 3:
        return False
    ends = np.take(values, [0, -1], axis=axis)
    return bool((ends >= RESOLVED).mean() > 0.02)


def _of_the_series(evidence: VolumeEvidence) -> list[str]:
    """Few tilts, a small range, few photons."""
    volume = evidence.volume
    if schema.TILT not in volume.coords:
        return []
    tilts, found = volume[schema.TILT].values.astype(float), []
    if float(np.ptp(tilts)) < TILT_RANGE:
        found.append(
            f"tilts span only {np.ptp(tilts):.3g}°, so shapes are drawn out along z by the missing wedge"
        )
    if schema.TILT_PHOTONS in volume:
        pixels = volume.sizes[schema.Y] * volume.sizes[schema.X]
        each = float(volume[schema.TILT_PHOTONS].mean()) / pixels
        if each < FEW_PHOTONS:
            found.append(f"{each:.2g} photons per pixel and tilt are few: the smallest phase may be lost")
    return found


def _found(evidence: VolumeEvidence) -> str:
    volume, statistics = evidence.volume, evidence.statistics
    fractions = is_fraction(volume)
    parts = [
        f"{one.phase} ({100 * one.object_fraction:.3g} %)" if fractions else one.phase
        for one in statistics.phases
    ]
    phases = number_of(len(parts), "phase")
    unit = statistics.unit
    size = f"{grouped(statistics.object_volume)} {unit}³" if fractions else "a volume in photons per voxel"
    verb = "fills" if len(parts) == 1 else "fill"
    said = f"{phases} {verb} {size}: {listed(parts)}"
    if schema.TILT in volume.coords:
        tilts = volume[schema.TILT].values.astype(float)
        said += f", from {len(tilts)} tilts of {tilts.min():.4g}° to {tilts.max():.4g}°"
    if schema.TILT_PHOTONS in volume:
        said += f" and {with_unit(float(volume[schema.TILT_PHOTONS].sum()), 'photons')}"
    return said
