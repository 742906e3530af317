"""What a series of projections knows of itself."""

import numpy as np
import pytest

from edxdask.errors import ParameterError
from edxdask.tomo.geometry import TiltGeometry


def test_one_number_holds_for_all_projections_and_lists_for_each():
    geometry = TiltGeometry.of([-60, 0, 60], shift_y=[1, 2, 3], exposure=0.5)
    assert len(geometry) == 3
    np.testing.assert_array_equal(geometry.shift_y, [1, 2, 3])
    np.testing.assert_array_equal(geometry.exposure, [0.5, 0.5, 0.5])
    np.testing.assert_array_equal(geometry.rotation_deg, [0, 0, 0])


@pytest.mark.parametrize("wrong", [[1.0, 2.0], [0.0, np.nan, 0.0]])
def test_shifts_that_are_not_one_finite_number_per_tilt_are_refused(wrong):
    with pytest.raises(ParameterError, match="shift_x"):
        TiltGeometry.of([-60, 0, 60], shift_x=wrong)
