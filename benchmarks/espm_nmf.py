"""espm's physics-guided NMF on counts from a file; run by ``accuracy.py`` in espm's environment.

PYTHON espm_nmf.py COUNTS.npy RESULT.npz PHASES SETTINGS

SETTINGS is the JSON of ``peers.espm``: all that espm needs to build its matrix G.
"""

import json
import sys
import time

import hyperspy.api as hs
import numpy as np
from espm.datasets.eds_spim import EDSespm
from espm.estimators import SmoothNMF

CM_PER_NM = 1e-7


def spectrum_image(counts: np.ndarray, stated: dict) -> EDSespm:
    """Counts with film, beam and detector."""
    image = EDSespm(counts.astype(np.float64))
    axis = image.axes_manager[-1]
    # espm's own axis includes its end point; with this step its channels are where those of the counts do
    axis.offset = stated["energy_first_kev"]
    axis.scale = (stated["energy_last_kev"] - stated["energy_first_kev"]) / axis.size
    axis.units = "keV"
    image.set_elements(stated["elements"])
    image.set_microscope_parameters(
        beam_energy=stated["beam_energy_kev"],
        tilt_stage=0.0,
        elevation_angle=stated["elevation_deg"],
        azimuth_angle=0.0,
    )
    image.set_analysis_parameters(
        thickness=stated["thickness_nm"] * CM_PER_NM,
        density=stated["density_g_cm3"],
        detector_type=stated["detector"],
        width_slope=stated["fwhm_slope"],
        width_intercept=stated["fwhm_at_0_kev"],
        xray_db="200keV_xrays.json",
    )
    return image


def main(counts: str, result: str, phases: str, settings: str) -> None:
    """Decompose as espm's guide does for a spectrum image; copper too is an element of the sample here."""
    stated = json.loads(settings)
    hs.preferences.General.show_progressbar = False
    image = spectrum_image(np.load(counts), stated)
    begin = time.process_time()
    image.build_G(ignored_elements=[])
    model = SmoothNMF(n_components=int(phases), G=image.model, hspy_comp=True, verbose=0, **stated["options"])
    image.decomposition(algorithm=model, print_info=False)
    seconds = time.process_time() - begin
    spectra = (model.G_ @ model.W_).T
    maps = model.H_.reshape(-1, *image.data.shape[:-1])
    np.savez(result, spectra=spectra, maps=maps, seconds=seconds, iterations=model.n_iter_)


if __name__ == "__main__":
    main(*sys.argv[1:])
