"""A particle of three phases, small enough for tests: a body, inclusions in it and a core in one of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edxdask.tomo.classes import class_responses, classes_of
from edxdask.tomo.geometry import TiltGeometry
from edxdask.tomo.projector import Projector

SIDE, ROWS, CHANNELS = 40, 8, 120


@dataclass(frozen=True)
class Phantom:
    """Truth (phase, z, y, x), photons (tilt, row, column, class) and what links them."""

    truth: np.ndarray
    responses: np.ndarray
    counts: np.ndarray
    projector: Projector

    def error(self, volume: np.ndarray) -> float:
        """Root of the sum over phases of the squared errors."""
        return float(np.sqrt(((volume - self.truth) ** 2).mean(axis=(1, 2, 3)).sum()))


def fractions() -> np.ndarray:
    """Fractions of phases (phase, z, y, x)."""
    z, y, x = np.meshgrid(np.arange(SIDE), np.arange(ROWS), np.arange(SIDE), indexing="ij")

    def ball(cz: float, cx: float, radius: float) -> np.ndarray:
        squares = (z - cz) ** 2 + (x - cx) ** 2 + (y - (ROWS - 1) / 2) ** 2
        return np.clip(radius + 0.5 - np.sqrt(squares), 0.0, 1.0)

    body = ((z - 19.5) ** 2 / 13**2 + (x - 19.5) ** 2 / 16**2 < 1).astype(float)
    inclusions = np.maximum.reduce([ball(15, 14, 5), ball(25, 24, 5), ball(17, 28, 3.5)]) * body
    core = ball(25, 24, 2.5)
    return np.stack([body - inclusions, inclusions - core, core]).astype(np.float32)


def spectra() -> np.ndarray:
    """Overlapping spectra that sum to 1, (phase, channel)."""
    channel = np.arange(CHANNELS)
    lines = [((20, 1.0), (45, 1.0)), ((20, 1.6), (80, 0.8)), ((45, 0.8), (62, 1.2))]
    out = np.stack([np.full(CHANNELS, 0.003) for _ in lines])
    for row, peaks in zip(out, lines, strict=True):
        for at, height in peaks:
            row += 0.1 * height * np.exp(-0.5 * ((channel - at) / 3.0) ** 2)
    return out / out.sum(axis=1, keepdims=True)


def phantom(
    photons: float = 20.0,
    *,
    seed: int = 0,
    tilts: int = 15,
    exposure: np.ndarray | float = 1.0,
    true_shift_x: np.ndarray | float = 0.0,
) -> Phantom:
    """Simulate photons, ``photons`` of them in the mean pixel of the thick part.

    ``true_shift_x`` moves the projections, and the projector that is returned does not know.
    """
    angles = np.linspace(-65, 65, tilts)
    truth, shape = fractions(), (SIDE, SIDE)
    responses = spectra() * (photons / 25.0) * np.array([[0.9], [1.0], [1.1]])
    class_of = classes_of(responses)
    merged = class_responses(responses, class_of)
    moved = TiltGeometry.of(angles, shift_x=true_shift_x, exposure=exposure)
    images = Projector(moved, shape=shape, columns=SIDE, volume_rows=ROWS).forward(
        np.ascontiguousarray(truth.transpose(1, 3, 0, 2))
    )
    expected = np.einsum("tuky,kc,t->tyuc", images, merged, moved.exposure)
    counts = np.random.default_rng(seed).poisson(expected).astype(np.uint8)
    known = TiltGeometry.of(angles, exposure=exposure)
    return Phantom(truth, merged, counts, Projector(known, shape=shape, columns=SIDE, volume_rows=ROWS))
