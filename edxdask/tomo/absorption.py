"""How much of the photons an object absorbs on their lines to the detectors: a mean factor for each phase.

The factor belongs to spectra: those of ``psnmf`` hold it already, those computed from compositions do not. It
differs between voxels and tilts, which volumes ignore; where it matters a warning says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.physics.absorption import NM_PER_CM, film_attenuation
from edxdask.physics.geometry import Detector
from edxdask.physics.lines import line_energy, main_line

MATTERS = 0.05  # absorbed fraction of a line above which a warning is due
COARSE = 64  # voxels a side that a volume is read with
POINTS = 200  # starts of photons in each phase
MOST_TILTS = 15  # that paths are followed at, evenly chosen
SHOWN = 6  # lines in a warning


@dataclass(frozen=True)
class Object:
    """An object that absorbs: where its phases are, and what they are.

    Attributes
    ----------
    volume : (phase, z, y, x) fractions of voxels; a coarse one will do
    voxel_nm : side of these voxels
    compositions : atoms of each phase, in any unit
    densities_g_cm3 : of each phase
    """

    volume: np.ndarray
    voxel_nm: float
    compositions: Sequence[Mapping[str, float]]
    densities_g_cm3: Sequence[float]

    def __post_init__(self) -> None:
        phases = self.volume.shape[0]
        if self.volume.ndim != 4 or not {len(self.compositions), len(self.densities_g_cm3)} == {phases}:
            raise ParameterError(
                "volume", self.volume.shape, "(phase, z, y, x), each with atoms and a density"
            )
        if not self.voxel_nm > 0:
            raise ParameterError("voxel_nm", self.voxel_nm, "nanometres, above 0")

    def attenuation(self, energy: np.ndarray) -> np.ndarray:
        """Attenuation of each phase: (phase, energy), per nm."""
        pairs = zip(self.compositions, self.densities_g_cm3, strict=True)
        return np.stack([rho * film_attenuation(atoms, energy) / NM_PER_CM for atoms, rho in pairs])


def transmission_of(
    thing: Object,
    energy: np.ndarray,
    *,
    tilt_deg: np.ndarray,
    detector: Detector,
    sight: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Give the fraction of each phase's photons that reach the detectors: (phase, tilt, energy).

    Parameters
    ----------
    thing : Object
    energy : (energy,), keV
    tilt_deg : (tilt,); the tilt axis is along y
    detector : with azimuths from the tilt axis
    sight : (tilt, detector), fraction in sight of each detector; None: all of all
    seed : of the voxels that are followed

    Examples
    --------
    >>> ball = np.ones((1, 9, 9, 9)); quartz = [{"Si": 1, "O": 2}]
    >>> seen = transmission_of(Object(ball, 100.0, quartz, [2.6]), np.array([0.52, 6.4]),
    ...                        tilt_deg=np.array([0.0]), detector=Detector())
    >>> seen.shape, bool(seen[0, 0, 0] < 0.8 < seen[0, 0, 1])
    ((1, 1, 2), True)
    """
    rates = thing.attenuation(np.asarray(energy, dtype=np.float64))
    weights = np.broadcast_to(detector.shares(), (len(tilt_deg), len(detector.elevation_deg)))
    weights = weights if sight is None else weights * np.asarray(sight, dtype=np.float64)
    weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-30)
    out = np.ones((thing.volume.shape[0], len(tilt_deg), rates.shape[1]))
    for phase, starts in enumerate(_starts(thing.volume, seed)):
        if not len(starts):
            continue
        for i, tilt in enumerate(tilt_deg):
            through = [_lengths(thing.volume, starts, way) for way in detector.directions(float(tilt))]
            lengths = thing.voxel_nm * np.stack(through)  # (detector, point, phase)
            out[phase, i] = np.einsum("d,dpe->e", weights[i], np.exp(-lengths @ rates)) / len(starts)
    return out


def mean_factor(
    thing: Object,
    energy: np.ndarray,
    *,
    tilt_deg: np.ndarray,
    detector: Detector,
    sight: np.ndarray | None = None,
    exposure: np.ndarray | None = None,
) -> np.ndarray:
    """Give the factor to fold into computed spectra, mean transmission over tilts: (phase, energy)."""
    chosen = np.unique(np.linspace(0, len(tilt_deg) - 1, min(MOST_TILTS, len(tilt_deg))).round().astype(int))
    seen = transmission_of(
        thing,
        energy,
        tilt_deg=np.asarray(tilt_deg)[chosen],
        detector=detector,
        sight=None if sight is None else np.asarray(sight)[chosen],
    )
    return np.average(seen, axis=1, weights=None if exposure is None else np.asarray(exposure)[chosen])


def absorption_warnings(
    thing: Object,
    labels: Sequence[str],
    *,
    range_kev: tuple[float, float],
    tilt_deg: np.ndarray,
    detector: Detector,
    sight: np.ndarray | None = None,
) -> list[str]:
    """Name lines that are used and of which the object absorbs more than 5 %; nothing if there are none."""
    found: dict[tuple[str, str], float] = {}
    for row, (label, atoms) in enumerate(zip(labels, thing.compositions, strict=True)):
        lines = {element: main_line(element, *range_kev) for element, amount in atoms.items() if amount > 0}
        known = {element: line for element, line in lines.items() if line is not None}
        if not known:
            continue
        energies = np.array([line_energy(line) for line in known.values()])
        factor = mean_factor(thing, energies, tilt_deg=tilt_deg, detector=detector, sight=sight)[row]
        found |= {(line, label): 1 - f for line, f in zip(known.values(), factor, strict=True)}
    worst = sorted((pair for pair in found.items() if pair[1] > MATTERS), key=lambda pair: -pair[1])
    if not worst:
        return []
    listed = ", ".join(f"{line} of {label} {100 * lost:.0f} %" for (line, label), lost in worst[:SHOWN])
    more = f" and {len(worst) - SHOWN} more" if len(worst) > SHOWN else ""
    return [
        f"the object absorbs more than {100 * MATTERS:g} % of lines that are used: {listed}{more}. Each "
        "phase has its mean spectrum at all tilts, so these lines look weaker inside and far from the "
        "detectors than they are"
    ]


def warnings_of_volume(
    volume: xr.Dataset, densities: Mapping[str, float], *, sight: np.ndarray | None = None
) -> list[str]:
    """Name the lines of a volume's phases that it absorbs itself by more than 5 %; reads a coarse part of it.

    Parameters
    ----------
    volume : Dataset of ``volume(phase, z, y, x)`` with ``composition``, ``energy`` and tilts, in nm
    densities : g/cm³ of each phase, by label
    sight : (tilt, detector), fraction in sight of each detector; None: all of all
    """
    fractions, element = volume[schema.VOLUME], volume[schema.ELEMENT].values
    labels = [str(label) for label in volume[schema.PHASE].values]
    step = max(1, -(-max(fractions.shape[1:]) // COARSE))
    places = {dim: slice(step // 2, None, step) for dim in (schema.Z, schema.Y, schema.X)}
    coarse = np.asarray(fractions.isel(places).values, dtype=np.float32)
    planes = volume[schema.Z].values
    rows = volume[schema.COMPOSITION].transpose(schema.PHASE, schema.ELEMENT).values
    thing = Object(
        coarse,
        step * float(planes[-1] - planes[0]) / (len(planes) - 1),
        [{str(e): float(a) for e, a in zip(element, row, strict=True) if a > 0} for row in rows],
        [densities[label] for label in labels],
    )
    energy = volume[schema.ENERGY].values
    return absorption_warnings(
        thing,
        labels,
        range_kev=(float(energy[0]), float(energy[-1])),
        tilt_deg=volume[schema.TILT].values,
        detector=Detector.of(volume.attrs),
        sight=sight,
    )


def length_from_projections(thickness_nm: np.ndarray) -> float:
    """Mean path of a photon in the object, before there is a volume: half of the thickness it comes from.

    Parameters
    ----------
    thickness_nm : any shape, of the pixels of all projections

    Examples
    --------
    >>> length_from_projections(np.array([0.0, 100.0, 100.0]))
    50.0
    """
    thickness = np.asarray(thickness_nm, dtype=np.float64)
    whole = float(thickness.sum())
    return 0.5 * float((thickness**2).sum()) / whole if whole > 0 else 0.0


def _starts(volume: np.ndarray, seed: int) -> list[np.ndarray]:
    """Voxels that photons of each phase start in, as often as they hold of it: (point, 3) each."""
    draw = np.random.default_rng(seed)
    found = []
    for fraction in volume:
        flat = np.clip(fraction.ravel().astype(np.float64), 0.0, None)
        if not flat.sum() > 0:
            found.append(np.empty((0, 3)))
            continue
        chosen = np.searchsorted(np.cumsum(flat) / flat.sum(), draw.random(POINTS))
        places = np.stack(np.unravel_index(np.minimum(chosen, flat.size - 1), fraction.shape), axis=1)
        found.append(places + draw.random((POINTS, 3)) - 0.5)
    return found


def _lengths(volume: np.ndarray, starts: np.ndarray, way: np.ndarray) -> np.ndarray:
    """Lengths of the lines from ``starts`` out of the volume in each phase: (point, phase), voxels."""
    sides = np.array(volume.shape[1:])
    out = np.zeros((len(starts), volume.shape[0]))
    for step in range(int(np.ceil(np.sqrt((sides**2).sum())))):
        at = np.rint(starts + (step + 0.5) * way).astype(int)
        inside = ((at >= 0) & (at < sides)).all(axis=1)
        if not inside.any():
            break
        z, y, x = at[inside].T
        out[inside] += volume[:, z, y, x].T
    return out
