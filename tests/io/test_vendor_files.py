"""Every real file ingests to exactly the counts that rosettasciio's own dense reading gives.

rosettasciio is told to count in a wide type wherever it can be told: by itself it counts JEOL streams in
8 bits, and in .bcf files in a type guessed from twice the mean, which wraps without a word.
"""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import xarray as xr

from edxdask.errors import VendorFileError
from edxdask.io import ingest

BRUKER = (
    "16x16_12bit_packed_8bit.bcf",
    "30x30_instructively_packed_16bit_compressed.bcf",
    "P45_the_default_job.bcf",
    "over16bit.bcf",
    "test_TEM.bcf",
)
VELOX = {
    "velox_EELS_EDS.zip": "example_velox_EELS_EDS.emd",
    "velox_emd_v11_elementSelection.zip": "SI_empty selection.emd",
    "velox_emd_version11.zip": "Test SI 16x16 215 kx.emd",
}


@pytest.fixture
def velox(data, tmp_path):
    def unpack(archive, member):
        with zipfile.ZipFile(data / "vendor" / archive) as file:
            return file.extract(member, tmp_path)

    return unpack


def spectrum_images(signals):
    """Dense counts of all EDX maps among the signals."""
    chosen = [s for s in signals if s["metadata"].get("Signal", {}).get("signal_type", "").startswith("EDS")]
    return [np.asarray(s["data"]) for s in chosen if s["data"].ndim == 3]


def maps_of(store):
    if isinstance(store, xr.Dataset):
        return [store]
    return [child.to_dataset() for child in store.children.values()]


def assert_same_counts(store, expected):
    """Compare in any order of the maps, band by band, so that only the oracle's dense array is in memory."""
    found = sorted(maps_of(store), key=lambda ds: int(ds.counts.sum()))
    expected = sorted(expected, key=lambda counts: int(counts.sum(dtype=np.int64)))
    assert len(found) == len(expected) > 0
    for ds, counts in zip(found, expected, strict=True):
        assert ds.counts.shape == counts.shape
        for first in range(0, counts.shape[0], 64):
            np.testing.assert_array_equal(ds.counts[first : first + 64].values, counts[first : first + 64])


@pytest.mark.parametrize("name", BRUKER)
def test_bruker_files(data, tmp_path, monkeypatch, name):
    from rsciio.bruker import _api as bruker

    monkeypatch.setattr(bruker.HyperHeader, "estimate_map_depth", lambda *_, **__: np.uint32)
    path = data / "vendor" / name
    signals = bruker.file_reader(str(path), select_type="spectrum_image", index="all")
    assert_same_counts(ingest(path, tmp_path / "out.zarr"), spectrum_images(signals))


def test_the_16_bit_file_holds_the_counts_that_came_with_it(data, tmp_path):
    ds = ingest(data / "vendor" / "30x30_instructively_packed_16bit_compressed.bcf", tmp_path / "out.zarr")
    np.testing.assert_array_equal(
        ds.counts[:, :, 222:224].values, np.load(data / "vendor" / "30x30_16bit.npy")
    )


@pytest.mark.parametrize("archive", sorted(VELOX))
def test_velox_files(velox, tmp_path, archive):
    from rsciio.emd import file_reader

    path = velox(archive, VELOX[archive])
    # without select_type it takes an EDX map beside images and EELS for as large as the largest image
    signals = file_reader(path, select_type="spectrum_image", SI_dtype=np.uint32)
    assert_same_counts(ingest(path, tmp_path / "out.zarr"), spectrum_images(signals))


def test_a_pruned_velox_file_says_so(velox, tmp_path):
    path = velox("velox_emd_version11.zip", "Test SI 16x16 ReducedData 215 kx.emd")
    with pytest.raises(VendorFileError, match="pruned"):
        ingest(path, tmp_path / "out.zarr")


def test_phenom_file(data, tmp_path):
    from rsciio.phenom import file_reader

    path = data / "vendor" / "Elid2Version4.elid"
    maps = [s["data"] for s in file_reader(str(path)) if s["data"].ndim == 3]
    assert_same_counts(ingest(path, tmp_path / "out.zarr"), maps)


@pytest.mark.slow  # the oracle counts into a dense array of gigabytes
def test_jeol_stream_and_project(data, tmp_path):
    from rsciio.jeol import file_reader

    project = data / "vendor" / "jeol" / "rawdata.ASW"
    stream = next(project.parent.rglob("*.pts"))
    counts = file_reader(str(stream), SI_dtype=np.uint16)[0]["data"]  # it raises where 16 bit are too few
    assert_same_counts(ingest(stream, tmp_path / "stream.zarr"), [counts])
    assert_same_counts(ingest(project, tmp_path / "project.zarr"), [counts])


@pytest.mark.parametrize("name", ["71GPa_left.hspy", "88GPa_crop.hspy"])
def test_hyperspy_files(data, tmp_path, name):
    from rsciio.hspy import file_reader

    signals = file_reader(str(data / name), lazy=False)
    assert_same_counts(ingest(data / name, tmp_path / "out.zarr"), spectrum_images(signals))


def test_what_is_no_vendor_file_ends_in_one_error(data, tmp_path):
    (tmp_path / "empty.emd").touch()
    for path in (data / "vendor" / "Nope.bcf", tmp_path / "empty.emd", tmp_path, tmp_path / "absent.pts"):
        with pytest.raises(VendorFileError):
            ingest(path, tmp_path / "out.zarr")
        assert not (tmp_path / "out.zarr").exists()
