"""The server: only its address opens it, only this machine reaches it, nothing of it stays behind."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import psutil
import pytest

import edxdask
from edxdask.view.viewer import view

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Protocol": "bokeh, x",
}


@pytest.fixture(scope="module")
def viewer(store):
    with view(edxdask.open(store), browser=False) as running:
        yield running


def status(viewer, path, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", viewer.port, timeout=30)
    connection.request("GET", path, headers=headers or {})
    answer = connection.getresponse()
    answer.read(100)
    connection.close()
    return answer.status


def token(viewer):
    return viewer.url.rstrip("/").rpartition("/")[2]


def test_the_whole_address_opens_the_page_and_nothing_else_does(viewer):
    own = token(viewer)
    assert len(own) >= 32
    assert status(viewer, f"/{own}/") == 200
    paths = ["/", "", "/static/js/bokeh.min.js", "/ws", "/autoload.js", "/metadata", "/favicon.ico"]
    wrong = [own[:-1], own + "x", own.swapcase(), "", "..", "é", own[:-1] + "\0"]
    for path in paths:
        assert status(viewer, path or "/") == 403
        for other in wrong:
            assert status(viewer, "/" + urllib.request.quote(other) + path) == 403


def test_the_web_socket_needs_the_address_and_an_origin_on_this_machine(viewer):
    own = token(viewer)
    good = {**UPGRADE, "Origin": f"http://127.0.0.1:{viewer.port}"}
    assert status(viewer, "/ws", good) == 403
    assert status(viewer, "/wrong/ws", good) == 403
    assert status(viewer, f"/{own}/ws", {**UPGRADE, "Origin": "http://evil.example"}) == 403


def test_a_name_that_points_at_this_machine_is_refused(viewer):
    assert status(viewer, f"/{token(viewer)}/", {"Host": f"evil.example:{viewer.port}"}) == 403


def test_the_page_may_load_nothing_from_elsewhere(viewer):
    with urllib.request.urlopen(viewer.url) as answer:
        page = answer.read().decode()
        policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "cdn." not in page
    assert "<title>map.zarr · edxdask</title>" in page


def test_only_loopback_listens(viewer):
    listening = [c for c in psutil.Process().net_connections("inet") if c.status == psutil.CONN_LISTEN]
    own = [c.laddr.ip for c in listening if c.laddr.port == viewer.port]
    assert own == ["127.0.0.1"]


def test_a_viewer_that_was_stopped_leaves_no_thread_and_no_port(store):
    running = view(edxdask.open(store), browser=False)
    urllib.request.urlopen(running.url).read()
    running.stop()
    running.stop()
    left = [thread.name for thread in threading.enumerate() if f"{running.port}" in thread.name]
    assert left == []
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", running.port), timeout=5)


def test_a_port_that_is_taken_is_an_error_and_says_so(viewer, store):
    with pytest.raises(edxdask.EdxdaskError, match=f"port={viewer.port}: expected a port that is free"):
        view(edxdask.open(store), port=viewer.port, browser=False)
    with pytest.raises(edxdask.EdxdaskError, match="a whole number from 0 to 65535"):
        view(edxdask.open(store), port=70000, browser=False)


def test_a_notebook_shows_the_page_in_place(viewer):
    assert f'<iframe src="{viewer.url}"' in viewer._repr_html_()
    assert viewer.url in repr(viewer)


def test_the_method_of_cubes_and_results_opens_it(store, phases):
    for data in (edxdask.open(store), phases):
        with data.edx.view(browser=False) as running:
            assert urllib.request.urlopen(running.url).status == 200


def test_the_browser_is_opened_where_that_is_wanted(store, monkeypatch):
    import webbrowser

    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    with view(edxdask.open(store), browser=True) as running:
        assert opened == [running.url]


def start(store, *words):
    command = [sys.executable, "-m", "edxdask", "view", str(store), "--no-browser", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "with a page open"])
def test_ctrl_c_ends_the_command_with_zero_and_nothing_runs_on(store, at_once):
    with start(store, "--json") as process:
        said = json.loads("".join(iter(process.stdout.readline, "}\n")) + "}")
        if not at_once:
            urllib.request.urlopen(said["url"]).read()
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stderr.read() == ""
    time.sleep(0.1)
    assert [child for child in children if child.is_running()] == []
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", said["port"]), timeout=5)


def test_the_command_prints_the_address_and_how_to_end_it(store):
    with start(store) as process:
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        assert process.stdout.readline() == "Ctrl-C ends the viewer.\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stderr.read() == "The viewer has ended.\n"


def test_errors_of_the_command_are_in_its_own_words(run, store, tmp_path):
    missing = run("view", tmp_path / "none.zarr", "--no-browser")
    assert (missing.exit_code, "there is no such store" in missing.stderr) == (2, True)
    wrong = run("view", store, "--port", 70000, "--no-browser")
    assert (wrong.exit_code, "--port 70000: expected a whole number" in wrong.stderr) == (2, True)
    no_result = run("view", store, "--result", store, "--no-browser")
    assert (no_result.exit_code, "--result" in no_result.stderr) == (2, True)


def test_a_missing_bokeh_is_one_clear_error(store):
    code = (
        "import sys; sys.modules['bokeh.server.server'] = None; sys.modules['bokeh'] = None\n"
        f"import edxdask; edxdask.view(edxdask.open({str(store)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert "the viewer needs 'bokeh.server.server', which is not installed" in done.stderr
    assert "pip install 'edxdask[report]'" in done.stderr
