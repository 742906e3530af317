"""Samples that are not the mantle: what they are made of, and how they are measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import sample_maps as maps

from edxdask import schema

Atoms = Mapping[str, float]
CHANNEL_KEV = 0.01


@dataclass(frozen=True)
class Sample:
    """What a sample is made of, and how it is measured.

    Attributes
    ----------
    name : of the sample
    phases : atoms of each phase, in any unit
    maps : from side and seed to volume fractions, (phase, y, x)
    density : g/cm³ of each phase
    counts : per pixel, on average
    side : pixels
    beam_kev, thickness_nm : of the microscope and the film
    first_kev, channels : of the energy axis
    listed : elements that psnmf is given; None: all that the phases hold
    absent : hints, by phase
    by_espm : whether espm computes the spectra, where its environment is given
    even : whether all phases yield alike
    spoil : what the detector adds
    distinct : phases that spectra can tell apart, where that is fewer than there are
    """

    name: str
    phases: Mapping[str, Atoms]
    maps: Callable[[int, int], np.ndarray]
    density: Mapping[str, float]
    counts: float = 120.0
    side: int = 64
    beam_kev: float = 200.0
    thickness_nm: float = 60.0
    first_kev: float = 0.2
    channels: int = 1000
    listed: tuple[str, ...] | None = None
    absent: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    by_espm: bool = False
    even: bool = False
    spoil: Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray] | None = None
    distinct: int | None = None

    @property
    def elements(self) -> list[str]:
        """What psnmf is given."""
        if self.listed is not None:
            return list(self.listed)
        return list(dict.fromkeys(element for atoms in self.phases.values() for element in atoms))

    @property
    def energy(self) -> np.ndarray:
        """Channel centres in keV."""
        return self.first_kev + CHANNEL_KEV * np.arange(self.channels)

    @property
    def attrs(self) -> dict[str, float]:
        """What a lab knows of its film."""
        fractions = self.maps(self.side, 0).mean(axis=(1, 2))
        densities = np.array([self.density[name] for name in self.phases])
        return {
            schema.BEAM_ENERGY: self.beam_kev,
            schema.THICKNESS: self.thickness_nm,
            schema.DENSITY: float(fractions @ densities / fractions.sum()),
        }


BRIDGMANITE = {"Mg": 18.5, "Si": 18.2, "Al": 1.5, "Ca": 1.0, "Fe": 1.0, "O": 60.0}
FERROPERICLASE = {"Mg": 39.0, "Fe": 11.0, "O": 50.0}
PEROVSKITE = {"Si": 17.5, "Al": 2.5, "Ca": 16.2, "Fe": 1.0, "Nd": 1.0, "Sm": 1.0, "U": 1.0, "O": 60.0}
OLIVINE = {"Mg": 26.0, "Fe": 2.6, "Si": 14.3, "O": 57.1}
GLASS = {"Si": 20.0, "Al": 6.0, "Ca": 4.0, "Mg": 3.0, "Fe": 2.0, "Na": 2.0, "O": 62.0}
SILICA, ALUMINA = {"Si": 1.0, "O": 2.0}, {"Al": 2.0, "O": 3.0}
GAMMA = {"Ni": 55.0, "Cr": 20.0, "Co": 20.0, "Al": 5.0}
GAMMA_PRIME = {"Ni": 70.0, "Al": 15.0, "Ti": 9.0, "Co": 6.0}

SAMPLES = (
    Sample(
        "steel",
        {
            "ferrite": {"Fe": 88, "Cr": 9, "Mn": 2, "Si": 1},
            "M23C6": {"Cr": 52, "Fe": 27, "C": 21},
            "NbC": {"Nb": 50, "C": 50},
        },
        maps.two_kinds,
        {"ferrite": 7.8, "M23C6": 7.0, "NbC": 7.6},
        absent={"NbC": "Fe"},
    ),
    Sample(
        "superalloy",
        {"gamma": GAMMA, "gamma_prime": GAMMA_PRIME},
        maps.ordered_cubes,
        {"gamma": 8.5, "gamma_prime": 8.1},
        absent={"gamma_prime": "Cr"},
        by_espm=True,
    ),
    Sample(
        "core_shell",
        {"C": {"C": 1}, "Au": {"Au": 1}, "Cu2O": {"Cu": 2, "O": 1}},
        maps.core_shell,
        {"C": 2.0, "Au": 19.3, "Cu2O": 6.0},
        absent={"Cu2O": "C"},
        by_espm=True,
    ),
    Sample(
        "layers",
        {
            "Si": {"Si": 1},
            "SiO2": SILICA,
            "TiN": {"Ti": 1, "N": 1},
            "W": {"W": 1},
            "HfO2": {"Hf": 1, "O": 2},
        },
        maps.layers,
        {"Si": 2.33, "SiO2": 2.2, "TiN": 5.2, "W": 19.3, "HfO2": 9.7},
        by_espm=True,
    ),
    Sample(
        "gradient",
        {
            "NMC811": {"Ni": 20, "Mn": 2.5, "Co": 2.5, "O": 50},
            "NMC111": {"Ni": 8.3, "Mn": 8.3, "Co": 8.3, "O": 50},
        },
        maps.gradient,
        {"NMC811": 4.7, "NMC111": 4.7},
    ),
    Sample(
        "catalyst",
        {"C": {"C": 1}, "TiO2": {"Ti": 1, "O": 2}, "Pt": {"Pt": 1}},
        maps.catalyst,
        {"C": 2.0, "TiO2": 4.2, "Pt": 21.4},
        absent={"Pt": "Ti"},
    ),
    Sample(
        "olivine",
        {"olivine": OLIVINE, "glass": GLASS},
        maps.large_grains,
        {"olivine": 3.3, "glass": 2.7},
        absent={"olivine": "Al"},
        by_espm=True,
    ),
    Sample(
        "pyroxene",
        {
            "pyroxene": {"Mg": 16, "Fe": 4, "Si": 20, "Ca": 1, "O": 60},
            "pyrrhotite": {"Fe": 46, "S": 53, "Ni": 1},
        },
        maps.large_grains,
        {"pyroxene": 3.3, "pyrrhotite": 4.6},
    ),
    Sample(
        "mantle_no_oxygen",
        {"Brg": BRIDGMANITE, "Fp": FERROPERICLASE, "CaPv": PEROVSKITE},
        maps.buried_spheres,
        {"Brg": 4.5, "Fp": 4.5, "CaPv": 4.5},
        first_kev=0.82,
        channels=900,
        listed=("Mg", "Si", "Al", "Ca", "Fe", "Nd", "Sm", "U"),
        absent={"Fp": "Si", "CaPv": "Mg"},
        by_espm=True,
    ),
    Sample("one_phase", {"Brg": BRIDGMANITE}, maps.one_phase, {"Brg": 4.5}),
    Sample(
        "two_counts",
        {"Brg": BRIDGMANITE, "Fp": FERROPERICLASE, "CaPv": PEROVSKITE},
        maps.wide_map,
        {"Brg": 4.5, "Fp": 4.5, "CaPv": 4.5},
        counts=2.0,
        side=128,
        absent={"Fp": "Si", "CaPv": "Mg"},
        by_espm=True,
    ),
    Sample(
        "five_thousand",
        {
            "olivine": OLIVINE,
            "glass": GLASS,
            "chromite": {"Cr": 16, "Fe": 10, "Mg": 5, "Al": 12, "O": 57},
        },
        maps.large_and_small,
        {"olivine": 3.3, "glass": 2.7, "chromite": 4.7},
        counts=5000.0,
        side=48,
    ),
    Sample(
        "granules",
        {
            "resin": {"C": 80, "O": 17, "N": 2.5, "S": 0.5},
            "phosphate": {"C": 20, "O": 50, "P": 12, "Ca": 8, "Mg": 5, "K": 5},
            "ferritin": {"C": 45, "O": 30, "N": 5, "Fe": 15, "P": 5},
        },
        maps.granules,
        {"resin": 1.2, "phosphate": 1.8, "ferritin": 1.9},
        beam_kev=80.0,
        thickness_nm=100.0,
        absent={"resin": "P"},
    ),
    Sample(
        "zero_peak",
        {"Si": {"Si": 1}, "Al2O3": ALUMINA},
        maps.large_grains,
        {"Si": 2.33, "Al2O3": 3.9},
        first_kev=-0.2,
        channels=1040,
        spoil=maps.add_zero_peak,
    ),
    Sample(
        "missing_element",
        {"TiN": {"Ti": 1, "N": 1}, "NiSi": {"Ni": 1, "Si": 1}},
        maps.large_grains,
        {"TiN": 5.2, "NiSi": 5.9},
        listed=("Ti", "N", "Ni"),
        by_espm=True,
    ),
    Sample(
        "hot_pixels",
        {"Brg": BRIDGMANITE, "Fp": FERROPERICLASE},
        maps.many_grains,
        {"Brg": 4.5, "Fp": 4.5},
        spoil=maps.add_faults,
        by_espm=True,
    ),
    Sample(
        "halves",
        {"Si": {"Si": 1}, "SiO2": SILICA},
        maps.halves,
        {"Si": 1.0, "SiO2": 1.0},
        first_kev=0.3,
        counts=60.0,
        side=32,
        absent={"Si": "O"},
        even=True,
        by_espm=True,
    ),
    Sample(
        "half_precipitates",  # flat tops that are not pure: only knowledge of the sample can decide
        {"gamma": GAMMA, "gamma_prime": GAMMA_PRIME},
        maps.half_as_thick,
        {"gamma": 8.5, "gamma_prime": 8.1},
        absent={"gamma_prime": "Cr"},
    ),
    Sample(
        "spinel",  # one phase is, atom for atom, the sum of the two others
        {"MgO": {"Mg": 1, "O": 1}, "MgAl2O4": {"Mg": 1, "Al": 2, "O": 4}, "Al2O3": ALUMINA},
        maps.bands_between,
        {"MgO": 3.6, "MgAl2O4": 3.6, "Al2O3": 3.9},
        distinct=2,
    ),
    Sample(
        "overlaps",  # S K, Mo L and Pb M are one peak
        {"MoS2": {"Mo": 1, "S": 2}, "PbS": {"Pb": 1, "S": 1}, "BaTiO3": {"Ba": 1, "Ti": 1, "O": 3}},
        maps.wide_map,
        {"MoS2": 5.1, "PbS": 7.6, "BaTiO3": 6.0},
        by_espm=True,
    ),
    Sample(
        "small_grain",  # one phase of a dozen pixels
        {"Brg": BRIDGMANITE, "Fp": FERROPERICLASE, "Pt": {"Pt": 1}},
        maps.one_small_grain,
        {"Brg": 4.5, "Fp": 4.5, "Pt": 21.4},
    ),
    Sample(
        "wedge",  # from 8 to 230 counts per pixel
        {"SrTiO3": {"Sr": 1, "Ti": 1, "O": 3}, "TiO2": {"Ti": 1, "O": 2}},
        maps.wedge,
        {"SrTiO3": 5.1, "TiO2": 4.2},
        absent={"TiO2": "Sr"},
        by_espm=True,
    ),
    Sample(
        "alike",  # two feldspars: one atom in eight differs much, in lines that are close
        {
            "albite": {"Na": 1, "Al": 1, "Si": 3, "O": 8},
            "anorthite_20": {"Na": 0.8, "Ca": 0.2, "Al": 1.2, "Si": 2.8, "O": 8},
        },
        maps.large_grains,
        {"albite": 2.6, "anorthite_20": 2.65},
    ),
)  # fmt: skip
BY_NAME = {sample.name: sample for sample in SAMPLES}
