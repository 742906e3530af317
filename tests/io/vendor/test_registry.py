"""Which reader is asked, by what the file holds; what people are told where none will do."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest
from made_files import (
    counts_of,
    write_dm3,
    write_edaxh5,
    write_h5oina,
    write_hspy,
    write_pts,
    write_rpl,
    write_ser,
    write_spd,
)

from edxdask.errors import VendorFileError
from edxdask.io.vendor import FORMATS, find_reader, readers_of

COUNTS = counts_of((3, 4, 16))
WRITERS = {
    ".hspy": lambda path: write_hspy(path, COUNTS),
    ".rpl": lambda path: write_rpl(path, COUNTS),
    ".spd": lambda path: write_spd(path, COUNTS),
    ".ser": lambda path: write_ser(path, COUNTS),
    ".dm3": lambda path: write_dm3(path, COUNTS),
    ".h5oina": lambda path: write_h5oina(path, [COUNTS]),
    ".edaxh5": lambda path: write_edaxh5(path, {"P/S/Area 1/Live Map 1": COUNTS}),
    ".pts": lambda path: write_pts(path, COUNTS[None]),
}


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_the_reader_of_the_format_is_found(suffix, tmp_path):
    assert suffix in find_reader(WRITERS[suffix](tmp_path / f"a{suffix}")).suffixes


@pytest.mark.parametrize("suffix", [".pts", ".spd", ".ser", ".dm3"])
def test_suffixes_in_capitals_are_the_same(suffix, tmp_path):
    path = WRITERS[suffix](tmp_path / f"a{suffix}")
    assert suffix in find_reader(path.rename(path.with_suffix(suffix.upper()))).suffixes


@pytest.mark.parametrize(("suffix", "other"), [(".h5oina", ".h5"), (".hspy", ".hdf5"), (".edaxh5", ".emd")])
def test_the_content_decides_where_the_suffix_says_little_or_something_else(suffix, other, tmp_path):
    path = WRITERS[suffix](tmp_path / f"a{suffix}")
    assert suffix in find_reader(path.rename(path.with_suffix(other))).suffixes


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("16x16_12bit_packed_8bit.bcf", ".bcf"),
        ("Elid2Version4.elid", ".elid"),
        ("jeol/rawdata.ASW", ".asw"),
        ("../71GPa_left.hspy", ".hspy"),
    ],
)
def test_real_files_find_their_reader(data, name, reader):
    assert reader in find_reader(data / "vendor" / name).suffixes


def test_every_module_offers_readers_for_the_suffixes_it_is_listed_with():
    for suffix, (_, module) in FORMATS.items():
        assert any(suffix in reader.suffixes for reader in readers_of(module)), suffix


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "there is no such file"),
        (lambda p: p.mkdir(), "it is a folder"),
        (lambda p: p.touch(), "the file is empty"),
        (lambda p: p.write_bytes(b"nothing of the kind" * 9), "not that of a Bruker file"),
    ],
)
def test_what_cannot_be_read_is_named_with_the_formats_that_can(make, message, tmp_path):
    path = tmp_path / "map.bcf"
    make(path)
    with pytest.raises(VendorFileError, match=message) as caught:
        find_reader(path)
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.path, error.reader, error.stage) == (str(path), "none", "opening")
    assert "Bruker (.bcf)" in error.reason
    assert "TIA (.ser .emi)" in error.reason


@pytest.mark.parametrize(("suffix", "advice"), [(".zip", "unpack it"), (".raw", ".rpl"), (".img", ".asw")])
def test_files_beside_the_right_one_point_to_it(suffix, advice, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(VendorFileError, match=advice):
        find_reader(path)


def test_accepts_never_raises_whatever_the_bytes(tmp_path):
    import random

    rng = random.Random(0)
    readers = [
        reader for module in dict.fromkeys(m for _, m in FORMATS.values()) for reader in readers_of(module)
    ]
    starts = [
        b"",
        b"\x89HDF\r\n\x1a\n",
        b"BZh9",
        b"MAPSPECTRA_DATA\0",
        b"II\x97\x01",
        b"\0\0\0\3",
        b"AAMVHFSS",
    ]
    for i in range(60):
        content = starts[i % len(starts)] + rng.randbytes(rng.choice([0, 1, 30, 3000]))
        for suffix in FORMATS:
            path = tmp_path / f"any{suffix}"
            path.write_bytes(content or b"\0")
            for reader in readers:
                assert reader.accepts(path) in (True, False)


def test_finding_a_reader_loads_only_what_it_asks(tmp_path):
    path = WRITERS[".pts"](tmp_path / "a.pts")
    code = (
        "import sys; from edxdask.io.vendor import find_reader; find_reader(sys.argv[1]);"
        "heavy = {'rsciio', 'dask', 'distributed', 'h5py', 'edxdask.io.vendor.rosetta'} & set(sys.modules);"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
