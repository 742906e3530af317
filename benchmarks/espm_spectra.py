"""Spectra of phases by espm; run by ``espm_truth.py`` in espm's environment.

PYTHON espm_spectra.py ASKED SPECTRA.npy

ASKED is JSON: axis, film, beam, detector and phases.
"""

import json
import sys

import numpy as np
from espm.models.edxs import EDXS

CM_PER_NM = 1e-7
CONTINUUM = {"b0": 5.5367e-5, "b1": 0.00192181}  # of the example in espm's documentation


def spectrum(asked: dict, phase: dict) -> np.ndarray:
    """Lines and continuum of one phase."""
    first, last, channels = (asked[name] for name in ("energy_first_kev", "energy_last_kev", "channels"))
    model = EDXS(
        e_offset=first,
        # espm's own axis includes its end point; with this step its channels are where ours are
        e_scale=(last - first) / channels,
        e_size=channels,
        db_name="200keV_xrays.json",
        E0=asked["beam_energy_kev"],
        width_slope=asked["fwhm_slope"],
        width_intercept=asked["fwhm_at_0_kev"],
        params_dict={
            "Det": asked["detector"],
            "Abs": {
                "thickness": asked["thickness_nm"] * CM_PER_NM,
                "toa": asked["elevation_deg"],
                "density": phase["density_g_cm3"],
                "atomic_fraction": True,
            },
        },
    )
    return model.generate_spectrum(**CONTINUUM, elements_dict=phase["atoms"])


def main(asked: str, out: str) -> None:
    """Compute all phases."""
    settings = json.loads(asked)
    np.save(out, np.stack([spectrum(settings, phase) for phase in settings["phases"]]))


if __name__ == "__main__":
    main(*sys.argv[1:])
