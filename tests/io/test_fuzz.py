"""Damaged vendor files: each ends in ``VendorFileError`` or in a store whose totals were verified.

Never a crash of this process, a hang, or silently fewer counts where the format has a total to check. The
quick tests damage a few copies of each format, some of every kind of damage; the slow ones 300. All are
seeded, so that a failure can be had again: ``outcome(sources(name), folder, partial(damage, seed=seed))``.
"""

from __future__ import annotations

import logging
import os
import random
import re
import shutil
import subprocess
from collections import Counter
from functools import cache, partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import made_files as made
import numpy as np
import pytest
import xarray as xr
from forked_child import ForkedChild
from vendor_files.bruker import write_bcf
from vendor_files.velox import write_velox

import edxdask.io.child
import edxdask.io.remote
from edxdask.errors import VendorFileError
from edxdask.io.ingest import ingest_with
from edxdask.io.remote import Limits
from edxdask.io.vendor import find_reader
from edxdask.io.vendor.base import ReadOptions

FEW, MANY = 8, 300  # damaged copies of each format
HEAD = 4096  # bytes; half of the damage is within the first so many
KINDS = tuple(product(("anywhere", "in the head"), ("bits", "bytes")))  # of damage; seeds take them in turn
# A good file takes well under a second; what takes this long hangs.
LIMITS = Limits(cpu_seconds=10, memory_bytes=4 << 30)
CUTS = (0.01, 0.25, 0.5, 0.9, 0.99)


def _copy(name):
    return lambda folder, data: shutil.copy(data / "vendor" / name, folder / Path(name).name)


def _made(write, path, **options):
    write(path, shape=(12, 10), **options)
    return path


def _project(folder, data):
    """A project around a small stream; only the .pts is ours, so the counts are too."""
    source = data / "vendor" / "jeol"
    shutil.copy(source / "rawdata.ASW", folder)
    stream = next(source.rglob("*.pts")).relative_to(source)
    (folder / stream).parent.mkdir(parents=True)
    made.write_pts(folder / stream, made.counts_of((3, 8, 16, 300), rate=0.1))
    for image in source.rglob("*.[im][ma][gp]"):
        shutil.copy(image, folder / image.relative_to(source))
    return folder / "rawdata.ASW"


CUBE = (9, 8, 128)
# every suffix with a reader; the made ones are small, so that damage hits what matters
MAKERS = {
    "bcf": lambda f, _: _made(write_bcf, f / "a.bcf", channels=200, photons_per_pixel=20),
    "bcf real": _copy("over16bit.bcf"),
    "emd": lambda f, _: _made(write_velox, f / "a.emd", channels=256, frames=2),
    "pts": lambda f, _: made.write_pts(f / "a.pts", made.counts_of((3, 8, 16, 300), rate=0.1), image=True),
    "asw": _project,
    "elid": _copy("Elid2Version4.elid"),
    "spx": _copy("bruker_nano.spx"),
    "hspy": lambda f, _: made.write_hspy(f / "a.hspy", made.counts_of(CUBE), compression="gzip"),
    "rpl": lambda f, _: made.write_rpl(f / "a.rpl", made.counts_of(CUBE)),
    "spd": lambda f, _: made.write_spd(f / "a.spd", made.counts_of(CUBE)),
    "ser": lambda f, _: made.write_ser(f / "a.ser", made.counts_of(CUBE)),
    "dm3": lambda f, _: made.write_dm3(f / "a.dm3", made.counts_of(CUBE)),
    "h5oina": lambda f, _: made.write_h5oina(f / "a.h5oina", [made.counts_of(CUBE)]),
    "edaxh5": lambda f, _: made.write_edaxh5(f / "a.edaxh5", {"P/S/Area 1/Live Map 1": made.counts_of(CUBE)}),
}
OF_REAL_FILES = {
    "bcf real",
    "asw",
    "elid",
    "spx",
}  # these skip where the files are absent; the others are made here
# The HDF5 library itself turns in a circle where the heap of an attribute is damaged (seen in h5py's
# attrs.__getitem__): there the limit of processor time is what ends the reading, with one error.
THROUGH_HDF5 = {"hspy", "emd", "h5oina", "edaxh5"}
# Formats that keep a total of their own (a sum spectrum, or a checksum over everything): there no count may
# change without a word.
WITH_TOTAL = {"bcf", "bcf real", "emd", "pts", "asw", "elid", "edaxh5"}


@pytest.fixture(scope="module")
def sources(tmp_path_factory, request):
    """Folder, file and counts of a whole file of each format, made once."""
    made_once: dict[str, SimpleNamespace] = {}

    def make(name):
        if name not in made_once:
            real = request.getfixturevalue("data") if name in OF_REAL_FILES else None
            folder = tmp_path_factory.mktemp(name.replace(" ", "_"))
            path = MAKERS[name](folder, real)
            for file in folder.rglob("*"):
                file.chmod(0o755)
            whole = SimpleNamespace(name=name, folder=folder, path=path)
            whole.sums = _ingest(path, folder.parent / "out")[0]
            made_once[name] = whole
        return made_once[name]

    return make


NAMED = ("DEVNULL", "PIPE", "TimeoutExpired")
FORKING = SimpleNamespace(Popen=ForkedChild, **{name: getattr(subprocess, name) for name in NAMED})


@pytest.fixture(autouse=True)
def forking(monkeypatch):
    monkeypatch.setattr(edxdask.io.child, "subprocess", FORKING)
    monkeypatch.setattr(edxdask.io.remote, "keep", _ended)
    monkeypatch.setattr(os, "fsync", _no_power_fails)


@pytest.fixture(scope="module")
def workers():
    """Two processes for the slow tests; new ones, since Zarr's thread would not follow into a fork."""
    with get_context("spawn").Pool(2, _prepare) as pool:
        yield pool


def _no_power_fails(_):
    """Stand in for fsync, 40 of which a store take longer than the rest of a small ingest."""


def _ended(child):
    """Stand in for ``keep``: every damaged file gets a process of its own."""
    child.stop()


def _prepare():
    edxdask.io.child.subprocess = FORKING
    edxdask.io.remote.keep = _ended
    os.fsync = _no_power_fails
    logging.disable(logging.CRITICAL)


def _ingest(path, scratch):
    """Sum spectrum of each map by name, and what the user is told of the file's own total."""
    out = scratch / "out.zarr"
    scratch.mkdir()
    try:
        store = ingest_with(path, out, options=ReadOptions(), limits=LIMITS)
        maps = {"": store} if isinstance(store, xr.Dataset) else store.children
        sums = {name: node["counts"].sum(("y", "x")).values for name, node in maps.items()}
        told = [line for node in maps.values() for line in node.attrs["history"] if TOLD.search(line)]
        return sums, told
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


TOLD = re.compile("the file says|not all counts could be verified")
VOUCHED = re.compile(r"covers channels (\d+) to (\d+)")


def _unsaid(sums, truth, told):
    """Whether counts changed that the user is led to believe in."""
    ranges = [VOUCHED.search(line) for line in told]
    if not told:
        return True
    if not all(ranges) or any("it differs in" in line for line in told):
        return False  # the total or a channel differs, or no total was found: every count is in doubt
    (only,), (before,) = sums.values(), truth.values()
    first, last = (int(group) for group in ranges[0].groups())
    return not np.array_equal(only[first : last + 1], before[first : last + 1])


@cache
def warm(path):
    """Read a whole file in this process, so that its forks have modules and kernels loaded: 0.3 s each."""
    for item in find_reader(path).open(path, ReadOptions()):
        for _ in item.bands(64):
            pass


def kind_of(seed):
    """Where and how ``damage`` of this seed hits: one of ``KINDS``."""
    return KINDS[seed % len(KINDS)]


def damage(folder, seed):
    """Flip one to eight bits, or overwrite 64 bytes, of one file, as ``kind_of`` the seed says."""
    rng, (where, how) = random.Random(seed), kind_of(seed)
    file = rng.choice(
        sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix not in (".img", ".map"))
    )
    content = bytearray(file.read_bytes())
    reach = len(content) if where == "anywhere" else min(len(content), HEAD)
    if how == "bits":
        for _ in range(rng.randint(1, 8)):
            content[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    else:
        at = rng.randrange(reach)
        content[at : at + 64] = rng.randbytes(min(64, len(content) - at))
    file.write_bytes(content)


def outcome(whole, work, change):
    """How the ingest of a damaged copy ended: refused, same, told (counts changed, as said) or other."""
    warm(whole.path)
    shutil.copytree(whole.folder, work, copy_function=shutil.copyfile)
    try:
        change(work)
        sums, told = _ingest(work / whole.path.relative_to(whole.folder), work.with_suffix(".out"))
    except VendorFileError as error:
        return "refused", error.reason
    finally:
        shutil.rmtree(work, ignore_errors=True)
    photons, truth = ({n: int(s.sum()) for n, s in each.items()} for each in (sums, whole.sums))
    if sum(photons.values()) == sum(truth.values()):
        return "same", ""  # two maps where a damaged name tells the detectors apart, but all the photons
    return ("other" if _unsaid(sums, whole.sums, told) else "told"), f"{photons} instead of {truth}; {told}"


def judge(name, kind, reason):
    """Why an ending is not acceptable, or nothing."""
    if kind == "other" and name in WITH_TOTAL:
        return f"counts changed unnoticed: {reason}"
    hung = "no result after" in reason and name not in THROUGH_HDF5
    if kind == "refused" and (hung or "killed" in reason):
        return f"it hung or ate the memory: {reason}"
    return ""


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_a_few_damaged_copies_of_each_format_end_well(sources, tmp_path, name):
    whole = sources(name)
    assert {kind_of(seed) for seed in range(FEW)} == set(KINDS)
    for seed in range(FEW):
        ending, reason = outcome(whole, tmp_path / str(seed), partial(damage, seed=seed))
        assert not judge(name, ending, reason), f"{name}, seed {seed}: {judge(name, ending, reason)}"


def test_damage_is_of_the_kind_it_says_and_the_same_for_a_seed(tmp_path):
    """Else the tests around this one would prove less than they say."""
    original = bytes(8 * HEAD)
    path = tmp_path / "a.any"
    for seed in range(4 * len(KINDS)):
        endings = []
        for _ in range(2):
            path.write_bytes(original)
            damage(tmp_path, seed)
            endings.append(path.read_bytes())
        assert endings[0] == endings[1]
        changed = [at for at, byte in enumerate(endings[0]) if byte]
        where, how = kind_of(seed)
        assert len(endings[0]) == len(original)
        assert 1 <= len(changed) <= (8 if how == "bits" else 64)
        assert where == "anywhere" or changed[0] < HEAD
        assert how == "bits" or changed[-1] - changed[0] < 64


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_a_truncated_copy_is_refused_or_whole(sources, tmp_path, name):
    whole = sources(name)
    files = [p.relative_to(whole.folder) for p in whole.folder.rglob("*") if p.is_file()]
    main = max(files, key=lambda p: (p.suffix in (".pts", ".raw", ".spd"), p.suffix == whole.path.suffix))
    for part in CUTS:

        def cut(folder, part=part):
            os.truncate(folder / main, int((folder / main).stat().st_size * part))

        kind, reason = outcome(whole, tmp_path / f"cut{part}", cut)
        assert kind in ("refused", "same"), f"{name} cut to {part}: {kind} {reason}"


def test_what_is_no_file_of_any_format_is_refused(tmp_path):
    (tmp_path / "empty.bcf").touch()
    (tmp_path / "folder.emd").mkdir()
    (tmp_path / "other.bcf").write_bytes(b"no microscope wrote this " * 99)
    for path in tmp_path.iterdir():
        with pytest.raises(VendorFileError):
            _ingest(path, tmp_path.with_suffix(".out"))


def test_the_forked_child_crashes_and_hangs_as_the_real_one_does(tmp_path):
    """Else the tests above would prove nothing."""
    path = tmp_path / "a.any"
    path.write_bytes(b"x")
    limits = Limits(cpu_seconds=1, memory_bytes=4 << 30)
    for reader, said in (("CRASHES", "SIGSEGV"), ("HANGS", "no result after")):
        with pytest.raises(VendorFileError, match=said):
            ingest_with(
                path,
                tmp_path / "out.zarr",
                options=ReadOptions(),
                limits=limits,
                reader=f"bad_readers:{reader}",
            )


def _endings(task):
    """Endings of some seeds, in a process of its own."""
    whole, work, seeds = task
    return [(seed, *outcome(whole, work / str(seed), partial(damage, seed=seed))) for seed in seeds]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", sorted(MAKERS))
def test_three_hundred_damaged_copies_of_each_format_end_well(
    sources, tmp_path, workers, name, record_property
):
    whole = sources(name)
    parts = workers.map(_endings, [(whole, tmp_path, range(first, MANY, 20)) for first in range(20)], 1)
    endings = [ending for part in parts for ending in part]
    record_property("endings", dict(Counter(kind for _, kind, _ in endings)))
    bad = [(seed, why) for seed, kind, reason in endings if (why := judge(name, kind, reason))]
    assert len(endings) == MANY
    assert not bad, f"{name}: {bad[:5]}"
