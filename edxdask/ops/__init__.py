"""Dataset to Dataset, lazily: bin, crop, calibrate, frames, spectra, maps, masks."""

from edxdask.ops.bin import bin_cube
from edxdask.ops.calibrate import calibrate_energy
from edxdask.ops.crop import crop_cube
from edxdask.ops.elements import find_elements
from edxdask.ops.frames import sum_frames
from edxdask.ops.maps import line_map, total_map, window_map
from edxdask.ops.masks import Ellipse, Polygon, Rectangle, combine_masks, valid_mask
from edxdask.ops.rebin import rebin_energy
from edxdask.ops.spectra import maximum_pixel_spectrum, sum_spectrum

__all__ = [
    "Ellipse",
    "Polygon",
    "Rectangle",
    "bin_cube",
    "calibrate_energy",
    "combine_masks",
    "crop_cube",
    "find_elements",
    "line_map",
    "maximum_pixel_spectrum",
    "rebin_energy",
    "sum_frames",
    "sum_spectrum",
    "total_map",
    "valid_mask",
    "window_map",
]
