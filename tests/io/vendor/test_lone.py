"""Lone spectra are maps of one pixel; values that are no counts are turned back into counts or refused."""

from __future__ import annotations

import struct

import h5py
import numpy as np
import pytest
from made_files import map_of, maps_of, write_hspy

from edxdask import schema
from edxdask.errors import ParameterError
from edxdask.io.vendor import find_reader
from edxdask.io.vendor.base import ReadOptions

CHANNELS = 200
COUNTS = np.random.default_rng(2).poisson(30.0, CHANNELS)


def write_msa(path, values, *, drop=(), end=True, **keys):
    """An EMSA/MAS file; ``keys`` replace or add lines of the header."""
    lines = {
        "FORMAT": "EMSA/MAS Spectral Data File",
        "VERSION": "1.0",
        "TITLE": "grain 3",
        "NPOINTS": len(values),
        "NCOLUMNS": 1,
        "XUNITS": "keV",
        "YUNITS": "Counts",
        "DATATYPE": "Y",
        "XPERCHAN": 0.01,
        "OFFSET": -0.1,
        "SIGNALTYPE": "EDS",
        "BEAMKV": 200.0,
        "LIVETIME": 12.5,
        "ELEVANGLE": 22.0,
        **keys,
    }
    text = "".join(f"#{key:<12}: {value}\r\n" for key, value in lines.items() if key not in drop)
    text += f"#{'SPECTRUM':<12}: \r\n" + "".join(f"{value},\r\n" for value in values)
    path.write_text(text + (f"#{'ENDOFDATA':<12}: \r\n" if end else ""))
    return path


def write_eds(path, counts):
    """JEOL .eds in the layout that rosettasciio reads; no real one was at hand."""
    out = struct.pack("<I6xd80s32s", 264, 45000.5, b"grain", b"") + struct.pack("<i10d", 1, *range(10))
    out += struct.pack("<i9d", 7, 0, 1, 2, 3, 0.01, 12.5, 14.0, 10.0, 100.0)
    out += struct.pack("<i4d", 1, 0, 0, 1, 0) + struct.pack("<i4d", 1, 0, 0, 1, 0)
    out += struct.pack("<2d32sid32si", 0.01, -0.1, b"", 0, 0, b"T1", len(counts))
    out += np.asarray(counts, "<i4").tobytes()
    out += struct.pack("<5i", 0, 0, 0, 0, 5)
    out += struct.pack("<16s16s16s2d38x6did", b"EX", b"SEM", b"0", 200, 0, 138, 8, 0, 0, 22.3, 0, 0, 1)
    out += struct.pack("<5H5d", 0, 0, 0, 0, 0, 0, 90.0, 0, 22.3, 10)
    out += struct.pack("<4sHd16s6H8d4sH3d", b"", 4, 0, b"", *(0,) * 6, *(0.0,) * 7, 0, b"", 0, 0, 0, 0)
    path.write_bytes(out)
    return path


def write_spx(path, counts, told=None):
    """Bruker .spx with the least that rosettasciio needs."""
    from vendor_files.bruker import header_xml

    text = header_xml((1, 1), [counts]).decode("cp1252")
    body = text[text.index("<SpectrumData0>") + len("<SpectrumData0>") : text.index("</SpectrumData0>")]
    if told is not None:
        body = body.replace(f"<ChannelCount>{len(counts)}<", f"<ChannelCount>{told}<")
    path.write_text(f'<?xml version="1.0" encoding="WINDOWS-1252"?><TRTSpectrum>{body}</TRTSpectrum>')
    return path


def write_sums(path, sums):
    """A .hspy file that holds spectra and nothing else."""
    signals = [(name, counts, "EDS_TEM", ("keV",)) for name, counts in sums.items()]
    write_hspy(path, np.zeros((1, 1, 1), "u2"), signals=signals)
    with h5py.File(path, "r+") as file:
        del file["Experiments/map"]
    return path


WRITERS = {
    "a.msa": write_msa,
    "a.emsa": write_msa,
    "a.eds": write_eds,
    "a.spx": write_spx,
    "a.hspy": lambda path, counts: write_sums(path, {"sum": counts}),
}


def read(path):
    return map_of(find_reader(path), path)


# rosettasciio leaves .eds files open; in the child process that ends with it
LEFT_OPEN = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@LEFT_OPEN
@pytest.mark.parametrize("name", sorted(WRITERS))
def test_a_spectrum_is_a_map_of_one_pixel_with_its_counts(tmp_path, name):
    header, dense = read(WRITERS[name](tmp_path / name, COUNTS))
    assert (header.shape, header.channels, header.pixel_size) == ((1, 1), CHANNELS, None)
    np.testing.assert_array_equal(dense[0, 0], COUNTS)
    assert header.attrs[schema.BEAM_ENERGY] == 200.0
    assert header.remarks == ()
    assert header.energy_scale > 0


@LEFT_OPEN
@pytest.mark.parametrize("name", ["a.msa", "a.eds"])
def test_its_axis_and_conditions_are_in_our_units(tmp_path, name):
    header, _ = read(WRITERS[name](tmp_path / name, COUNTS))
    assert (header.energy_offset, header.energy_scale) == pytest.approx((-0.1, 0.01))
    assert header.attrs[schema.LIVE_TIME] == 12.5
    assert header.attrs[schema.ELEVATION] == [pytest.approx(22.0, abs=0.4)]


def test_an_axis_in_ev_becomes_one_in_kev(tmp_path):
    header, _ = read(write_msa(tmp_path / "a.msa", COUNTS, XUNITS="eV", XPERCHAN=10.0, OFFSET=-100.0))
    assert (header.energy_offset, header.energy_scale) == pytest.approx((-0.1, 0.01))


@pytest.mark.parametrize("form", ["{:d}", "{:.1f}", "{:.6e}"])
def test_whole_numbers_are_counts_however_they_are_written(tmp_path, form):
    values = [form.format(int(count)) for count in COUNTS]
    header, dense = read(write_msa(tmp_path / "a.msa", values))
    np.testing.assert_array_equal(dense[0, 0], COUNTS)
    assert header.remarks == ()


def test_what_rounding_left_is_rounded_with_a_word(tmp_path):
    header, dense = read(write_msa(tmp_path / "a.msa", COUNTS + 0.0004))
    np.testing.assert_array_equal(dense[0, 0], COUNTS)
    assert header.remarks == ("values were rounded to whole counts, by up to 0.0004",)


@pytest.mark.parametrize("unit", ["cps", "Counts/s", "counts per second", "s^-1"])
def test_counts_per_second_become_counts_by_the_live_time(tmp_path, unit):
    header, dense = read(write_msa(tmp_path / "a.msa", COUNTS / 12.5, YUNITS=unit))
    np.testing.assert_array_equal(dense[0, 0], COUNTS)
    assert "multiplied by its live time of 12.5 s" in header.remarks[0]


@pytest.mark.parametrize(
    ("values", "options", "said"),
    [
        (COUNTS * 0.37, {}, r"not whole numbers \([\d.]+ in channel \d+\).*Export the counts themselves"),
        (COUNTS / COUNTS.sum(), {}, "not whole numbers"),
        (COUNTS / 11.0, {"YUNITS": "cps"}, r"times its live time \(12\.5 s\) they are not whole"),
        (COUNTS / 12.5, {"YUNITS": "cps", "drop": ["LIVETIME"]}, "no live time to convert them"),
        (COUNTS - 31, {}, "not counts of photons"),
        (np.where(np.arange(CHANNELS) == 3, np.nan, COUNTS), {}, "not counts of photons"),
    ],
)
def test_values_that_are_no_counts_are_refused_with_the_way_out(tmp_path, values, options, said):
    with pytest.raises(ValueError, match=said):
        read(write_msa(tmp_path / "a.msa", values, **options))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"NPOINTS": CHANNELS + 1}, "announces 201 channels, it holds 200: the file was cut short"),
        ({"end": False}, "does not end with #ENDOFDATA"),
        ({"drop": ["XPERCHAN"]}, "no energy calibration.*#XPERCHAN"),
        ({"drop": ["XUNITS"]}, "no energy calibration.*#XUNITS"),
        ({"SIGNALTYPE": "ELS", "XUNITS": "eV"}, "only EELS of shape"),
        ({"SIGNALTYPE": "WDS"}, "only WDS of shape"),
    ],
)
def test_a_file_that_is_cut_or_no_edx_spectrum_is_refused(tmp_path, options, said):
    with pytest.raises(ValueError, match=said):
        read(write_msa(tmp_path / "a.msa", COUNTS, **options))


def test_a_spx_file_of_fewer_channels_than_it_says_is_refused(tmp_path):
    with pytest.raises(ValueError, match="announces 201 channels, it holds 200"):
        read(write_spx(tmp_path / "a.spx", COUNTS, told=201))


def test_several_spectra_of_a_file_come_with_names_of_their_own(tmp_path):
    path = write_sums(tmp_path / "a.hspy", {"left": COUNTS, "right": COUNTS[::-1]})
    found = maps_of(find_reader(path), path)
    assert sorted(found) == ["left", "right"]
    np.testing.assert_array_equal(found["right"][1][0, 0], COUNTS[::-1])


def test_frames_of_a_spectrum_are_refused(tmp_path):
    path = write_msa(tmp_path / "a.msa", COUNTS)
    with pytest.raises(ParameterError, match="sum of all frames"):
        find_reader(path).open(path, ReadOptions(frames=(0, 1)))
