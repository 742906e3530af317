"""Every real file ingests to exactly the counts that rosettasciio's own dense reading gives, or says why not.

rosettasciio is told to count in a wide type wherever it can be told: by itself it counts JEOL streams in
8 bits, and in .bcf files in a type guessed from twice the mean, which wraps without a word.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from edxdask.errors import VendorFileError
from edxdask.ingestion import ingest

_NAMED = os.environ.get("EDXDASK_TEST_DATA")
FOLDER = Path(_NAMED) if _NAMED else Path(__file__).resolve().parents[3] / "shared" / "data"


def listed():
    """Files below data/vendor, and those in its archives as ARCHIVE::MEMBER."""
    names = []
    for path in sorted((FOLDER / "vendor").rglob("*")):
        if path.is_file():
            names.append(path.relative_to(FOLDER / "vendor").as_posix())
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as file:
                names += [f"{names[-1]}::{member}" for member in file.namelist()]
    return names


# What is no map or spectrum, or cannot be read by anyone, and what the user is told.
REFUSED = {
    "Nope.bcf": "not that of a Bruker file: it is damaged, or another format",
    "30x30_16bit.npy": "its content has no known format",
    ".zip": "it is an archive: unpack it and give the file inside",
    ".img": "it holds an image: give the .pts file or the .asw project",
    ".map": "it holds an element map: give the .pts file or the .asw project",
    "Test SI 16x16 ReducedData 215 kx.emd": "the file was pruned: .* Export it again from the original",
}
# The slowest one; jeol/rawdata.ASW, read by the same decoder, stays among the quick ones.
LARGEST = ("jeol/Sample/00_View000/View000_0000006.pts",)


def reason_of(name):
    known = [why for end, why in REFUSED.items() if name.endswith(end)]
    return known[0] if known else None


def rosettasciio(path):
    """All signals of a file."""
    suffix = path.suffix.lower()
    if suffix == ".bcf":
        from rsciio.bruker import _api as bruker

        file = bruker.BCF_reader(str(path))
        file.header.estimate_map_depth = lambda *_, **__: np.uint32
        return bruker.bcf_hyperspectra(file, index="all", downsample=1)
    if suffix == ".emd":
        from rsciio.emd import file_reader

        # without select_type it takes an EDX map beside images and EELS for as large as the largest image
        return file_reader(str(path), select_type="spectrum_image", SI_dtype=np.uint32)
    if suffix in (".pts", ".asw"):
        from rsciio.jeol import file_reader

        return file_reader(str(path), lazy=True)  # sparse; dense it takes 4 GiB, and 8 bits by itself
    if suffix == ".spx":
        from rsciio.bruker import file_reader
    elif suffix == ".elid":
        from rsciio.phenom import file_reader
    elif suffix == ".dm3":
        from rsciio.digitalmicrograph import file_reader
    else:
        from rsciio.hspy import file_reader
    return file_reader(str(path))


def edx_counts(signals):
    """Dense counts of all EDX maps among the signals, or of all spectra where there is no map."""
    kinds = [s["metadata"].get("Signal", {}).get("signal_type", "") for s in signals]
    chosen = [s["data"] for s, kind in zip(signals, kinds, strict=True) if kind.startswith("EDS")]
    maps = [counts for counts in chosen if counts.ndim == 3]
    return maps or [counts[None, None] for counts in chosen if counts.ndim == 1]


def rows_of(counts, first):
    """64 dense rows."""
    rows = counts[first : first + 64]
    rows = rows.compute() if hasattr(rows, "compute") else rows
    return rows.todense() if hasattr(rows, "todense") else rows


def maps_of(store):
    if isinstance(store, xr.Dataset):
        return [store]
    return [child.to_dataset() for child in store.children.values()]


def assert_same_counts(store, expected):
    """Compare in any order of the maps, band by band, so that only the oracle's dense array is in memory."""
    found = sorted(maps_of(store), key=lambda ds: int(ds.counts.sum()))
    expected = sorted(expected, key=lambda counts: int(counts.sum()))
    assert len(found) == len(expected) > 0
    for ds, counts in zip(found, expected, strict=True):
        assert ds.counts.shape == counts.shape
        for first in range(0, counts.shape[0], 64):
            assert np.array_equal(ds.counts[first : first + 64].values, rows_of(counts, first)), first


@pytest.fixture
def unpacked(data, tmp_path):
    def unpack(name):
        archive, _, member = name.partition("::")
        if not member:
            return data / "vendor" / archive
        with zipfile.ZipFile(data / "vendor" / archive) as file:
            return Path(file.extract(member, tmp_path))

    return unpack


def _to_compare():
    names = [n for n in listed() if reason_of(n) is None] or ["absent"]
    return [pytest.param(n, marks=pytest.mark.slow if n in LARGEST else ()) for n in names]


@pytest.mark.parametrize("name", _to_compare())
def test_a_real_file_ingests_to_rosettasciios_counts(unpacked, tmp_path, name):
    path = unpacked(name)
    store = ingest(path, tmp_path / "out.zarr")
    assert_same_counts(store, edx_counts(rosettasciio(path)))
    assert not [text for ds in maps_of(store) for text in ds.attrs.get("warnings", [])]


@pytest.mark.parametrize("name", [n for n in listed() if reason_of(n) is not None] or ["absent"])
def test_a_real_file_that_is_refused_says_why(unpacked, tmp_path, name):
    with pytest.raises(VendorFileError, match=reason_of(name)):
        ingest(unpacked(name), tmp_path / "out.zarr")
    assert not (tmp_path / "out.zarr").exists()


def test_the_version_2_bruker_file_holds_the_counts_of_its_header(data, tmp_path):
    ds = ingest(data / "vendor" / "bcf_v2_50x50px.bcf", tmp_path / "out.zarr")
    assert ds.counts.shape == (50, 50, 2048)
    assert int(ds.counts.sum()) == 949_769
    assert ds.attrs["beam_energy_kev"] == 20.0


def test_the_16_bit_file_holds_the_counts_that_came_with_it(data, tmp_path):
    ds = ingest(data / "vendor" / "30x30_instructively_packed_16bit_compressed.bcf", tmp_path / "out.zarr")
    np.testing.assert_array_equal(
        ds.counts[:, :, 222:224].values, np.load(data / "vendor" / "30x30_16bit.npy")
    )


@pytest.mark.parametrize("name", ["71GPa_left.hspy", "88GPa_crop.hspy"])
def test_hyperspy_files(data, tmp_path, name):
    assert_same_counts(ingest(data / name, tmp_path / "out.zarr"), edx_counts(rosettasciio(data / name)))


def test_what_is_no_vendor_file_ends_in_one_error(data, tmp_path):
    (tmp_path / "empty.emd").touch()
    for path in (data / "vendor" / "Nope.bcf", tmp_path / "empty.emd", tmp_path, tmp_path / "absent.pts"):
        with pytest.raises(VendorFileError):
            ingest(path, tmp_path / "out.zarr")
        assert not (tmp_path / "out.zarr").exists()
