"""eXSpy's Cliff-Lorimer on the spectrum in its wheel; run by ``quantify.py`` in HyperSpy's environment.

PYTHON exspy_quantify.py RESULT.npz K_FE_KA K_PT_LA

Two methods, both from its guide: counts in windows minus the background beside them (the example of
``quantification``), and a model of lines and background fitted to the spectrum.
"""

import sys
import time
from collections.abc import Callable

import exspy
import hyperspy.api as hs
import numpy as np

LINES = ["Fe_Ka", "Pt_La"]
OTHERS = ["Cu", "C", "O", "Si"]  # grid and support, which a model has to know


def windows(signal):
    """Intensities from windows, as in the guide's example."""
    signal.set_lines(LINES)
    background = signal.estimate_background_windows(line_width=[5.0, 2.0])
    return signal.get_lines_intensity(background_windows=background)


def model(signal):
    """Intensities from a fitted model."""
    signal.set_elements(["Fe", "Pt", *OTHERS])
    signal.add_lines()
    fitted = signal.create_model()
    fitted.fit()
    fitted.fit_background()
    return fitted.get_lines_intensity(xray_lines=LINES)


def answer(intensities: Callable, factors: list[float]) -> tuple[list[float], float]:
    """At.% of Fe and Pt, and processor seconds of the second time: the first loads modules."""
    for _ in range(2):
        signal = exspy.data.EDS_TEM_FePt_nanoparticles()
        begin = time.process_time()
        found = signal.quantification(intensities(signal), "CL", factors, composition_units="atomic")
        seconds = time.process_time() - begin
    return [float(one.data.squeeze()) for one in found], seconds


def main(result: str, *factors: str) -> None:
    """Write the spectrum, what is known of it, and both answers."""
    hs.set_log_level("ERROR")
    hs.preferences.General.show_progressbar = False
    signal = exspy.data.EDS_TEM_FePt_nanoparticles()
    axis, microscope = signal.axes_manager[-1], signal.metadata.Acquisition_instrument.TEM
    numbers = [float(k) for k in factors]
    of_windows, window_seconds = answer(windows, numbers)
    of_model, model_seconds = answer(model, numbers)
    np.savez(
        result,
        counts=signal.data,
        offset=axis.offset,
        scale=axis.scale,
        beam_energy=microscope.beam_energy,
        elevation=microscope.Detector.EDS.elevation_angle,
        fwhm=microscope.Detector.EDS.energy_resolution_MnKa,
        windows=of_windows,
        windows_seconds=window_seconds,
        model=of_model,
        model_seconds=model_seconds,
        version=exspy.__version__,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
