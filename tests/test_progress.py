"""Progress: who gets the reports, what people see of them, and how good the estimate is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import edxdask
from edxdask.errors import ParameterError
from edxdask.progress import Progress, shown
from edxdask.progress_display import LINE_SECONDS, Bar, Lines, Pace, Picture, TerminalCanvas

# writing it takes two seconds, most of which it sleeps
SLOW_CUBE = """
import time
import dask.array as da
import edxdask
import edxdask.progress

def slow(block):
    time.sleep(0.2)
    return block

counts = da.ones((1280, 4, 8), dtype="u2", chunks=(64, 4, 8)).map_blocks(slow, dtype="u2")
ds = edxdask.from_array(counts, energy_offset=0.0, energy_scale=0.01)
"""


def small():
    return edxdask.from_array(np.ones((4, 4, 8), "u2"), energy_offset=0.0, energy_scale=0.01)


def stderr_of(code, *, terminal, tmp_path):
    """What a program writes to stderr, be that a terminal or a pipe."""
    code = SLOW_CUBE + textwrap.dedent(code)
    if not terminal:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stderr
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    master, slave = pty.openpty()
    seen = bytearray()

    def read():
        try:
            while piece := os.read(master, 4096):
                seen.extend(piece)
        except OSError:  # the other side is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=slave,
        cwd=tmp_path,
        env=environment,
        timeout=120,
    )
    os.close(slave)
    reader.join(timeout=30)
    os.close(master)
    text = seen.decode(errors="replace")
    assert done.returncode == 0, text
    return text


def screen_after(text):
    """Lines a terminal shows at the end, by the few codes that bars use."""
    lines, row = [""], 0
    at = 0
    while at < len(text):
        if text.startswith("\x1b[", at):
            end = at + 2
            while not text[end].isalpha():
                end += 1
            code, at = text[at + 2 : end + 1], end + 1
            if code.endswith("A"):
                row -= int(code[:-1] or 1)
            elif code == "2K":
                lines[row] = ""
        else:
            if text[at] == "\n":
                row += 1
                lines += [""] * (row - len(lines) + 1)
            elif text[at] != "\r":
                lines[row] += text[at]
            at += 1
    return [line for line in lines if line.strip()]


# who gets the reports


def test_a_function_gets_every_report_and_nothing_is_shown(tmp_path, capfd):
    events = []
    edxdask.save(small(), tmp_path / "a.zarr", progress=events.append)
    assert [(event.label, event.done, event.total) for event in events] == [("save a.zarr", 16, 16)]
    assert capfd.readouterr().err == ""


def test_what_is_no_option_is_refused():
    with pytest.raises(ParameterError, match=r"progress='bar': expected None, True, False, or a function"):
        edxdask.nmf(small(), phases=1, progress="bar")


def test_a_call_within_a_call_reports_to_the_same_hook_unless_it_has_its_own():
    with shown(print, "outer"):
        with shown(None, "inner") as hook:
            assert hook is print
        with shown(True, "inner") as hook:
            assert hook is print
        with shown(repr, "inner") as hook:
            assert hook is repr
        with shown(False, "inner") as hook:
            assert hook is None
    with shown(False, "outer"), shown(None, "inner") as hook:
        assert hook is None


def test_after_a_call_that_failed_nobody_gets_its_reports():
    with pytest.raises(KeyError), shown(print, "outer"):
        raise KeyError
    with shown(None, "next") as hook:
        assert hook is None  # under pytest nobody watches


@pytest.mark.parametrize("name", ["ingest", "save", "simulate", "export", "nmf", "psnmf", "pca", "fcls"])
def test_functions_that_take_long_have_the_option(name):
    import inspect

    parameter = inspect.signature(getattr(edxdask, name)).parameters["progress"]
    assert (parameter.default, parameter.annotation) == (None, "ProgressOption")


# what people see


def test_a_terminal_shows_a_bar_and_is_clean_in_the_end(tmp_path):
    text = stderr_of("edxdask.save(ds, 'a.zarr')", terminal=True, tmp_path=tmp_path)
    assert "save a.zarr" in text
    assert "%, " in text
    assert "pixels/s" in text
    assert " left" in text
    assert screen_after(text) == []


def test_calls_that_others_make_share_their_bar(tmp_path):
    # a machine that has never run these kernels says that it compiles them
    code = """
    import logging
    from edxdask.progress import shown
    logging.getLogger("edxdask").setLevel(logging.ERROR)
    with shown(None, "all of it"):
        edxdask.save(ds, "a.zarr")
        edxdask.nmf(edxdask.open("a.zarr"), phases=1, max_iter=3)
    """
    text = stderr_of(code, terminal=True, tmp_path=tmp_path)
    assert text.count("\x1b[?25l") == 1  # the cursor is hidden once
    assert screen_after(text) == []


def test_a_terminal_is_clean_after_an_error(tmp_path):
    code = """
    from edxdask.progress import shown
    try:
        with shown(None, "failing"):
            edxdask.save(ds, "a.zarr")
            raise KeyError
    except KeyError:
        pass
    """
    text = stderr_of(code, terminal=True, tmp_path=tmp_path)
    assert "save a.zarr" in text
    assert screen_after(text) == []


@pytest.mark.parametrize(
    ("code", "terminal"),
    [
        ("edxdask.save(ds, 'a.zarr', progress=False)", True),
        ("edxdask.save(ds, 'a.zarr')", False),
        ("with edxdask.progress.shown(None, 'short work'): time.sleep(0.3)", True),
    ],
    ids=["progress=False", "a pipe", "short work"],
)
def test_nothing_is_shown_where_nobody_asked_or_watches_or_waits(tmp_path, code, terminal):
    assert stderr_of(code, terminal=terminal, tmp_path=tmp_path) == ""


def test_asked_for_a_pipe_gets_lines(tmp_path):
    text = stderr_of("edxdask.save(ds, 'a.zarr', progress=True)", terminal=False, tmp_path=tmp_path)
    assert text.splitlines()[-1].startswith("edxdask: save a.zarr: 100 %, 5.12 k of 5.12 k pixels, took ")


def test_two_threads_have_one_bar_in_a_terminal(tmp_path):
    # what one thread does to the warnings of Python may undo what another one does: Zarr's would be seen
    code = """
    import warnings
    from concurrent.futures import ThreadPoolExecutor
    warnings.filterwarnings("ignore", message="Consolidated metadata")
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: edxdask.save(ds, name), ["a.zarr", "b.zarr"]))
    """
    text = stderr_of(code, terminal=True, tmp_path=tmp_path)
    assert text.count("\x1b[?25l") == 1
    assert screen_after(text) == []


def test_a_notebook_shows_a_bar_and_keeps_how_long_it_took(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="nbformat, with which notebooks are made, is not here")
    nbclient = pytest.importorskip("nbclient", reason="nbclient, which runs notebooks, is not here")
    pytest.importorskip("ipykernel", reason="ipykernel, in which notebooks run, is not here")
    quiet = "edxdask.save(ds, 'b.zarr', progress=False);"
    cells = [SLOW_CUBE, "edxdask.save(ds, 'a.zarr');", quiet]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    updates = []
    handled = client.process_message

    def note(message, *rest):
        if message["msg_type"] in ("display_data", "update_display_data"):
            updates.append(message["content"]["data"])
        return handled(message, *rest)

    client.process_message = note
    client.execute()
    assert any("<progress" in data["text/html"] and "pixels/s" in data["text/plain"] for data in updates)
    (shown_last,) = notebook.cells[1].outputs
    assert shown_last["data"]["text/plain"].startswith("save a.zarr: ")
    assert notebook.cells[2].outputs == []


def test_a_bar_draws_the_newest_report_until_it_is_closed():
    drawn, last = [], []

    class Canvas:
        def draw(self, picture):
            drawn.append(picture)

        def close(self, text):
            last.append(text)

    bar = Bar(Canvas, "reading", 0.05)
    time.sleep(1.2)
    bar(Progress("nmf", 3, 10, "iteration", values={"objective": 2.0}, at_most=True))
    time.sleep(0.3)
    bar.close()
    assert drawn[0] == Picture("reading", None, "1 s")
    assert drawn[-1] == Picture("nmf", 0.3, "iteration 3")
    assert last[0].startswith("reading: ")


# rate and time left


def paced(reports, **about):
    """A pace after reports ``(second, done)``."""
    clock = [0.0]
    pace = Pace(lambda: clock[0])
    for clock[0], done in reports:
        pace.note(Progress("work", done, about.get("total"), "px"))
    return pace, clock


def test_the_rate_is_that_of_the_last_seconds():
    pace, _ = paced([(t, 10 * t) for t in range(60)] + [(60 + t, 600 + t) for t in range(60)], total=1000)
    assert pace.rate == pytest.approx(1)
    assert pace.left == pytest.approx(1000 - 659)


def test_what_comes_before_the_first_report_says_nothing_of_the_pace():
    pace, _ = paced([(30.0, 1), (31.0, 2), (32.0, 3)], total=13)  # half a minute of compiling
    assert pace.left == pytest.approx(10)


def test_units_that_take_unequal_time_are_weighed():
    clock = [0.0]
    pace = Pace(lambda: clock[0])
    for clock[0], done, work in ((5.0, 1, 0.1), (10.0, 2, 0.2), (15.0, 3, 0.3)):
        pace.note(Progress("choices", done, 4, "fit", work=work))
    assert pace.left == pytest.approx(35)  # a quarter of the fits, but 70 % of the work
    assert pace.describe() == "5 s each, 35 s left"


def test_the_end_that_a_stop_rule_expects_is_what_is_extrapolated():
    clock = [0.0]
    pace = Pace(lambda: clock[0])
    for clock[0] in range(1, 11):
        pace.note(Progress("fit", clock[0], 400, "iteration", at_most=True, expected=40))
    assert pace.left == pytest.approx(30)
    assert pace.describe() == "1 per second, about 30 s left"
    pace.note(Progress("fit", 10, 400, "iteration", at_most=True, expected=7))
    assert pace.left == pytest.approx(1)


@pytest.mark.parametrize("method", ["nmf", "psnmf"])
def test_rounds_that_are_expected_are_those_that_come_to_a_factor_of_three(method):
    seen = {}

    def note(event):
        if event.unit == "iteration":
            seen.setdefault(event.label, []).append(event)

    cube = edxdask.simulate("mantle", shape=(64, 64), counts=100, seed=2)
    options = {"bin": 4, "smooth": 1.0} if method == "psnmf" else {}
    getattr(edxdask, method)(cube, phases=3, progress=note, **options)
    for label, events in seen.items():
        if len(events) > 12:
            middle = events[len(events) // 2]
            left = len(events) - middle.done
            assert left / 3 < middle.expected - middle.done < 3 * left, label
    assert any(len(events) > 12 for events in seen.values())


def test_what_an_earlier_run_did_says_nothing_of_the_pace():
    pace, _ = paced([(1.0, 1010), (2.0, 1020)], total=1100)
    assert pace.left == pytest.approx(8)


@pytest.mark.parametrize(
    "reports",
    [[(5.0, 10)], [(5.0, 10), (5.1, 11)], [(5.0, 10), (9.0, 10)]],
    ids=["one report", "a moment", "a standstill"],
)
def test_there_is_no_estimate_before_reports_tell(reports):
    pace, _ = paced(reports, total=100)
    assert pace.left is None
    assert "left" not in pace.describe()


def test_there_is_no_estimate_where_the_total_is_not_known():
    pace, _ = paced([(t, t) for t in range(10)])
    assert (pace.rate, pace.left, pace.fraction) == (pytest.approx(1), None, None)
    assert pace.describe() == "1 pixel/s"


def test_an_estimate_counts_down_between_reports_and_goes_when_it_has_run_out():
    pace, clock = paced([(t, 10 * t) for t in range(6)], total=100)
    assert pace.left == pytest.approx(5)
    clock[0] = 8.0
    assert pace.left == pytest.approx(2)
    clock[0] = 11.0
    assert pace.left is None


def test_a_total_that_may_not_be_reached_makes_an_estimate_a_bound():
    clock = [0.0]
    pace = Pace(lambda: clock[0])
    for clock[0] in range(5):
        pace.note(Progress("nmf", clock[0], 100, "iteration", at_most=True))
    assert pace.describe() == "1 per second, at most 1 min 36 s left"


def test_the_next_piece_of_work_has_a_pace_of_its_own():
    pace, clock = paced([(t, 10 * t) for t in range(6)], total=1000)
    pace.note(Progress("next", 1, 5, "fit"))
    assert pace.rate is None
    clock[0] = 25.0
    pace.note(Progress("next", 2, 5, "fit"))
    assert pace.describe() == "20 s each, 1 min 0 s left"


def test_many_reports_take_little_memory():
    pace, _ = paced([(t / 1000, t) for t in range(100_000)], total=1e6)
    assert len(pace._marks) < 250
    assert pace.rate == pytest.approx(1000)


def logged(capsys, reports):
    """Lines of a log that got reports ``(second, label, done, total, unit, at most)``."""
    clock = [0.0]
    show = Lines(lambda: clock[0])
    for clock[0], label, done, total, unit, at_most in reports:
        show(Progress(label, done, total, unit, at_most=at_most))
    show.close()
    return [line.removeprefix("edxdask: ") for line in capsys.readouterr().err.splitlines()]


def test_a_log_gets_a_line_now_and_then(capsys):
    said = logged(capsys, [(t, "ingest a", t * 100 + 1000, 3000, "px", False) for t in range(1, 21)])
    assert said[0] == "ingest a: 50 %, 1.5 k of 3 k pixels, 100 pixels/s, 15 s left"
    assert said[-1] == "ingest a: 100 %, 3 k of 3 k pixels, took 20 s"
    assert len(said) == 20 / LINE_SECONDS


def test_a_log_gets_rarer_lines_the_longer_it_takes(capsys):
    said = logged(capsys, [(t, "ingest a", t, 36_001, "px", False) for t in range(1, 36_001)])
    assert len(said) < 200  # of ten hours


def test_a_log_gets_the_end_of_work_that_ended_before_its_total(capsys):
    rounds = [
        (10 * i + done, label, done, 100, "iteration", True)
        for i, label in enumerate(("bins", "nmf"))
        for done in range(1, 4)
    ]
    assert logged(capsys, rounds) == [
        "bins: iteration 3, took 3 s",
        "nmf: iteration 3, took 10 s",
    ]


def test_work_that_took_no_second_has_no_line_but_the_last(capsys):
    names = [(i / 100, f"ingest {i}", 64, 64, "px", False) for i in range(300)]
    assert len(logged(capsys, names)) == 1


def test_what_is_counted_one_by_one_is_in_the_headline(capsys):
    label = "choosing the bin size"
    said = logged(capsys, [(t, label, t / 4, 9, "fit", False) for t in range(0, 40, 4)])
    assert said[1] == f"{label} (4 of 9): 4 s each, 20 s left"
    assert said[-1] == f"{label} (9 of 9): took 36 s"


def test_a_bar_goes_on_while_a_step_says_nothing_and_never_goes_back():
    drawn = []

    class Canvas:
        def draw(self, picture):
            drawn.append(picture)

        def close(self, text):
            pass

    bar = Bar(Canvas, "psnmf", 0.02)
    bar(Progress("choosing the bin size", 0, 9, "fit", work=0.0))
    time.sleep(1.2)
    for done, expected in ((10, 20), (11, 40)):
        bar(Progress("maps", done, 60, "iteration", at_most=True, expected=expected))
        time.sleep(0.2)
    bar.close()
    assert drawn[0] == Picture("choosing the bin size (0 of 9)", 0.0, "1 s")
    assert [picture.fraction for picture in drawn if picture.label == "maps"][-1] == 0.5


@pytest.mark.parametrize("columns", [40, 80])
def test_a_bar_cuts_no_figures_and_keeps_both_ends_of_a_name(columns, monkeypatch, capfd):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    name = "ingest a_map_with_a_very_long_name_of_somebody_who_writes_all_down_007.emd"
    canvas = TerminalCanvas()
    canvas.draw(Picture(name, 0.5, "50 %, 120 pixels/s"))
    canvas._bars.stop()
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", capfd.readouterr().err)
    line = next(line for line in text.splitlines() if "50 %" in line)
    assert "50 %, 120 pixels/s" in line
    assert line.startswith("inges")
    assert "7.emd" in line
    assert len(line.strip()) <= columns
