"""The report on a file: what a maintainer needs is in it, and nothing that a user wrote, for any bytes."""

import json
import shutil
import zipfile

import h5py
import numpy as np
import pytest
from made_files import counts_of, write_edaxh5, write_h5oina, write_hspy, write_rpl

import edxdask
from edxdask.errors import ParameterError, StoreExistsError
from edxdask.io.allowed import shown_message, shown_name
from edxdask.io.diagnose import diagnose

PERSON, SAMPLE, NOTE = "Rosalind Weatherby", "Zugspitze-basalt-7781", "kept in Hildegard's drawer"
SECRETS = (*PERSON.split(), *SAMPLE.split("-")[:2], "7781", "Hildegard", "drawer")


def assert_private(report, *more):
    for word in (*SECRETS, *more):
        assert word.lower() not in report.lower()


def section(report, title):
    return report.split(f"== {title}\n")[1].split("\n\n== ")[0]


@pytest.fixture
def folder(tmp_path):
    """Folder whose name is private, too."""
    path = tmp_path / PERSON
    path.mkdir()
    return path


def test_an_oxford_file_is_described_down_to_its_last_band_and_no_name_is_in_the_report(folder):
    path = write_h5oina(folder / f"{SAMPLE}.h5oina", [counts_of((70, 5, 64))], labels=(SAMPLE,))
    with h5py.File(path, "a") as file:
        file[f"1/EDS/Header/{SAMPLE}"] = np.array([PERSON.encode()])
        file["1/EDS/Header/Comment"] = np.array([NOTE.encode()])
        file["1/EDS"].attrs[PERSON] = NOTE
    report = diagnose(path)
    assert_private(report)
    assert f"{path.stat().st_size} bytes" in section(report, "file")
    structure = section(report, "structure")
    assert "Spectrum (350, 64) int32, lzf, chunks (16, 64)" in structure
    assert f"<name of {len(SAMPLE)} characters>" in structure
    assert f"attributes: <name of {len(PERSON)} characters>" in structure
    read = section(report, "edxdask's reader")
    assert "opening: done by the Oxford reader, 1 maps" in read
    assert "70 × 5 pixels, 64 channels" in read
    assert "beam_energy_kev: 20" in read
    assert "decoding: done, 2 bands of 64 rows" in read
    for library in ("numpy", "h5py", "rosettasciio"):
        assert f"{library} " in section(report, "versions")


def test_groups_that_are_called_after_a_sample_are_not_named(folder):
    path = write_edaxh5(folder / "a.edaxh5", {f"{PERSON}/{SAMPLE}/Area 1/Live Map 1": counts_of((6, 5, 32))})
    report = diagnose(path)
    assert_private(report)
    assert "SPD (6, 5) " in report
    assert "EDAX APEX reader, 1 maps" in report


def test_what_rosettasciio_makes_of_a_file_is_said_without_its_texts(folder):
    path = write_hspy(folder / f"{SAMPLE}.hspy", counts_of((6, 5, 40)))
    with h5py.File(path, "a") as file:
        group = file["Experiments/map"]
        group["metadata/General"].attrs.update(title=SAMPLE, authors=PERSON, notes=NOTE)
        group["original_metadata"].attrs[SAMPLE] = PERSON
    report = diagnose(path)
    assert_private(report)
    found = section(report, "rosettasciio")
    assert found.startswith("HSPY: 1 signals\n  signal (6, 5, 40) uint16")
    assert "axis Energy: 40 of step 0.01, start -0.1 keV" in found
    assert "title: text" in found


def test_no_counts_are_in_the_report(folder):
    counts = np.full((3, 4, 32), 59_999, np.uint16)
    report = diagnose(write_hspy(folder / "a.hspy", counts))
    for number in (59_999, int(counts.sum()), int(counts[0, 0].sum()), int(counts[..., 0].sum())):
        assert str(number) not in report


def test_the_stage_at_which_reading_stops_is_named(folder):
    path = write_rpl(folder / f"{SAMPLE}.rpl", counts_of((6, 5, 40)))
    raw = path.with_suffix(".raw")
    raw.write_bytes(raw.read_bytes()[:-500])
    report = diagnose(path)
    assert_private(report)
    assert "stopped in the Ripple reader while opening" in section(report, "edxdask's reader")
    assert "Ripple: " in section(report, "rosettasciio")
    assert f"file beside it: .raw, {raw.stat().st_size} bytes" in report


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89HDF\r\n\x1a\n" + bytes(300),
        b"AAMVHFSS",
        b"PK\x03\x04",
        b"<?xml version='1.0'?><a>",
        f"{PERSON}\t{SAMPLE}\t{NOTE}\n".encode(),
        bytes(range(256)) * 9,
        b"\x93NUMPY",
        b"\0\0\0\x03\0",
    ],
)
def test_any_bytes_give_a_report_that_says_where_it_stopped(folder, content):
    path = folder / f"{SAMPLE}.{PERSON[:8]}"
    path.write_bytes(content)
    report = diagnose(path)
    assert_private(report, PERSON.encode()[:4].hex(" "))
    assert f"{len(content)} bytes" in report
    assert "no reader takes it" in report or "stopped in the" in section(report, "edxdask's reader")


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_every_real_file_has_a_report(data, folder):
    names = [p for p in sorted((data / "vendor").rglob("*")) if p.is_file()]
    for number, original in enumerate(names):
        report = diagnose(original)
        assert original.stem not in report
        assert str(original.parent) not in report
        if original.suffix in (".bcf", ".zip"):
            cut = folder / f"{SAMPLE}-{number}{original.suffix}"
            cut.write_bytes(original.read_bytes()[: original.stat().st_size * 2 // 3])
            report = diagnose(cut)
            assert_private(report)
            read = section(report, "edxdask's reader")
            assert "no reader takes it" in read or "stopped in the" in read


def test_a_real_velox_file_is_described_by_its_streams_and_keys(data, tmp_path):
    with zipfile.ZipFile(data / "vendor" / "velox_emd_version11.zip") as archive:
        (largest, *_) = sorted(archive.infolist(), key=lambda each: -each.file_size)
        with archive.open(largest) as packed, (tmp_path / "a.emd").open("wb") as file:
            shutil.copyfileobj(packed, file)
    report = diagnose(tmp_path / "a.emd")
    structure = section(report, "structure")
    for name in ("SpectrumStream/", "<32 hex digits>/", "AcquisitionSettings", "BinaryResult"):
        assert name in structure
    assert "done by the velox reader" in report
    assert "decoding: done" in report


def test_what_is_no_file_is_refused_with_what_to_do(tmp_path, run):
    with pytest.raises(ParameterError, match="there is no such file"):
        diagnose(tmp_path / "a.emd")
    with pytest.raises(ParameterError, match=r"this is a folder.*edxdask info"):
        diagnose(tmp_path)
    found = run("diagnose", tmp_path / "a.emd")
    assert (found.exit_code, "no such file" in found.stderr) == (2, True)


def test_the_command_writes_a_text_file_and_replaces_none_unasked(folder, run):
    path = write_hspy(folder / "a.hspy", counts_of((4, 4, 20)))
    out = folder / "report.txt"
    found = run("diagnose", path, "-o", out)
    assert (found.exit_code, found.stdout.strip()) == (0, str(out))
    text = out.read_text(encoding="utf-8")
    assert text == edxdask.diagnose(path) == run("diagnose", path).stdout
    assert json.loads(run("diagnose", path, "--json").stdout)["report"] == text
    assert run("diagnose", path, "-o", out).exit_code == 2
    with pytest.raises(StoreExistsError):
        diagnose(path, out=out)
    assert run("diagnose", path, "-o", out, "--overwrite").exit_code == 0
    with pytest.raises(ParameterError, match="would be lost"):
        diagnose(path, out=path, overwrite=True)
    with pytest.raises(ParameterError, match="mkdir -p"):
        diagnose(path, out=folder / "none" / "report.txt")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("KeyError: 'Rosalind Weatherby'", "KeyError: '…'"),
        ("it needs bytes 280 to 312 of 300: is it truncated?", None),
        ("file /home/rosalind/zugspitze/a.emd could not be read", "file … could not be read"),
        ("C:\\Users\\Rosalind\\a.emd", "…"),
        ("the file says 123456 photons, 123 were decoded", "the file says … photons, 123 were decoded"),
        ("unable to open file", None),
    ],
)
def test_of_messages_only_the_words_of_programs_are_shown(text, shown):
    assert shown_message(text) == (text if shown is None else shown)


@pytest.mark.parametrize("name", ["SpectrumStream", "Detector-12", "Detectors[SuperXG21].Selected", "3", ""])
def test_names_that_readers_know_are_shown(name):
    assert shown_name(name) == name


@pytest.mark.parametrize("name", [PERSON, SAMPLE, "2024-05-17", "770012", "Data of Rosalind", "Zugspitze"])
def test_other_names_are_not(name):
    assert shown_name(name) == f"<name of {len(name)} characters>"
