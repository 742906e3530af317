"""Statistics of volumes against balls of known size, whole labelling, and any chunking."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from volume_samples import LABELS, ball, sample_volume, three_phases

from edxdask.errors import ParameterError, SchemaError
from edxdask.results import voxels as voxels_module
from edxdask.results.particles import particles_of
from edxdask.results.volume_statistics import volume_statistics
from edxdask.results.voxels import VoxelGrid, layer_axis, pieces_of, voxel_grid

SHAPE = (28, 24, 32)


def array_of(values, chunks=None):
    one = xr.DataArray(values, dims=("z", "y", "x"))
    return one.chunk(dict(zip(one.dims, chunks, strict=True))) if chunks else one


def plain_particles(inside):
    """Sizes and centres of particles, found at once."""
    labels, count = ndimage.label(inside)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    return sizes, np.array(ndimage.center_of_mass(inside, labels, range(1, count + 1))).reshape(count, 3)


@pytest.mark.parametrize("sides", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.5)])
@pytest.mark.parametrize(("radius", "tolerance"), [(3.0, 0.16), (6.0, 0.08), (12.0, 0.03)])
def test_volume_and_surface_of_a_ball_are_right(sides, radius, tolerance):
    """Tolerances: what voxels leave open of a ball of so many of them."""
    shape = tuple(int(2 * radius / side + 7) for side in sides)
    axes = [(np.arange(n) - (n - 1) / 2) * side for n, side in zip(shape, sides, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    values = (z**2 + y**2 + x**2 <= radius**2).astype(np.float32)
    found = particles_of(array_of(values), VoxelGrid(shape, sides, "nm"), 0.5)
    assert found.surface == pytest.approx([4 * np.pi * radius**2], rel=tolerance)
    assert found.voxels * np.prod(sides) == pytest.approx([4 / 3 * np.pi * radius**3], rel=tolerance)
    assert not found.cut.any()


@given(
    seed=st.integers(0, 1000),
    chunks=st.tuples(*(st.integers(1, 14) for _ in range(3))),
    most=st.integers(1, 400),
)
def test_particles_do_not_depend_on_chunks_or_pieces(seed, chunks, most):
    rng = np.random.default_rng(seed)
    values = ndimage.uniform_filter(rng.random((13, 11, 14)), 2).astype(np.float32)
    inside = values >= 0.55
    sizes, centres = plain_particles(inside)
    grid = VoxelGrid(values.shape, (1.0, 1.0, 1.0), "px")
    whole = particles_of(array_of(values), grid, 0.55)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voxels_module, "PIECE_VOXELS", most)
        patch.setattr(pieces_of, "__kwdefaults__", {"most": most})
        found = particles_of(array_of(values, chunks), grid, 0.55)
    assert sorted(found.voxels) == sorted(sizes)
    assert found.inside == inside.sum()
    assert found.amount == pytest.approx(values.sum(dtype=float), rel=1e-6)
    assert np.allclose(sorted(map(tuple, found.centre.round(6))), sorted(map(tuple, centres.round(6))))
    assert np.allclose(np.sort(found.surface), np.sort(whole.surface))
    assert found.cut.sum() == whole.cut.sum()


def test_each_chunk_is_read_once_and_layers_lie_along_the_thin_side_of_chunks():
    read = []
    lazy = xr.DataArray(np.zeros(SHAPE, np.float32), dims=("z", "y", "x")).chunk(z=28, y=6, x=32)
    lazy.data = lazy.data.map_blocks(lambda b: read.append(b.shape) or b, dtype=np.float32, meta=np.empty(0))
    axis = layer_axis([lazy])
    assert axis == 1
    pieces = list(pieces_of([lazy], axis, most=3 * 28 * 32))
    assert [first for first, _ in pieces] == [0, 3, 6, 9, 12, 15, 18, 21]
    assert read.count((28, 6, 32)) == 4


def test_phases_have_their_volumes_fractions_and_particles():
    values = three_phases((48, 40, 56))
    volume = sample_volume(values)
    found = volume_statistics(volume)
    assert [one.phase for one in found.phases] == list(LABELS)
    assert found.unit == "nm"
    for one, true in zip(found.phases, values, strict=True):
        assert one.volume == pytest.approx(8 * true.sum(), rel=1e-5)
        assert one.object_fraction == pytest.approx(true.sum() / values.sum(), rel=1e-5)
    matrix, precipitates, core = found.phases
    assert len(precipitates.sizes) == 2
    assert len(core.sizes) == 1
    assert matrix.sphericities[0] < core.sphericities[0]  # it has holes
    assert core.sphericities[0] == pytest.approx(1.0, abs=0.12)
    assert core.centres[0] == pytest.approx(np.array([0.0, 39.0, 41.4]), abs=0.3)


def test_noise_does_not_add_surface_but_specks_are_counted_apart():
    one = ball((24, 24, 24), (11.5, 11.5, 11.5), 7.0)[None]
    clean = volume_statistics(sample_volume(one, labels=("a",)))
    specks = one.copy()
    specks[0, 1, 1, ::5] = 0.9
    noisy = volume_statistics(sample_volume(specks, labels=("a",), noise=0.1))
    assert clean.phases[0].smaller == 0
    assert noisy.phases[0].smaller == 5
    assert len(noisy.phases[0].sizes) == 1
    assert noisy.phases[0].surfaces[0] == pytest.approx(clean.phases[0].surfaces[0], rel=0.05)


def test_particles_at_the_edge_are_marked_as_cut():
    values = np.zeros((1, *SHAPE), np.float32)
    values[0, :6, 4:10, 4:10] = 1
    values[0, 15:20, 15:20, 15:20] = 1
    (one,) = volume_statistics(sample_volume(values, labels=("a",))).phases
    assert one.cut.tolist() == [True, False]


def test_photons_are_divided_into_two_groups():
    counts = 40 * three_phases() + 1.5
    found = volume_statistics(sample_volume(counts, kind="photons"))
    for one in found.phases:
        assert 12 < one.threshold < 30
        assert np.isnan(one.object_fraction)
    assert len(found.phases[1].sizes) == 2


def test_an_empty_phase_has_no_particles_and_everything_can_be_printed():
    values = three_phases()
    values[2] = 0
    found = volume_statistics(sample_volume(values))
    assert len(found.phases[2].sizes) == 0
    assert found.to_dict()["phases"][2]["mean_diameter_nm"] is None
    assert "CaPv" in repr(found)
    assert list(found.table().index) == list(LABELS)
    assert found.particles().loc["Fp"].shape[0] == 2
    empty = volume_statistics(sample_volume(0 * values, kind="photons"))
    assert all(len(one.sizes) == 0 for one in empty.phases)


def test_without_calibration_sizes_are_in_pixels_and_z_takes_the_pixel_of_the_map():
    assert volume_statistics(sample_volume(step=None)).unit == "px"
    thin = sample_volume().isel(z=slice(11, 12))
    assert voxel_grid(thin).sides == (2.0, 2.0, 2.0)
    uneven = sample_volume()
    uneven = uneven.assign_coords(z=uneven.z**3)
    with pytest.raises(SchemaError, match="equal steps"):
        voxel_grid(uneven)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threshold": 0.0}, "above 0"),
        ({"threshold": 1.5}, "at most 1"),
        ({"least_voxels": 0}, "1 or more"),
    ],
)
def test_impossible_thresholds_are_refused(options, said):
    with pytest.raises(ParameterError, match=said):
        volume_statistics(sample_volume(), **options)
