"""The page's server: on this machine only, and only for those who know the random word in its address."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
import socket
import threading
from collections.abc import Callable
from typing import Any

from bokeh.document import Document
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.ioloop import IOLoop
from tornado.web import ErrorHandler, OutputTransform

from edxdask.errors import EdxdaskError, ParameterError

ADDRESS = "127.0.0.1"
_TOKEN_BYTES = 24
_SESSION_MS = 15_000  # of a page that was closed, until what it held is freed
_CHECK_MS = 5_000
_LARGEST_MESSAGE = 256 << 20  # from a browser: the mask of a large map
_START_SECONDS = 30.0
_GOODBYE_SECONDS = 2.0
_SCRIPTS = ("bokeh", "bokeh-widgets")
# The page loads nothing from elsewhere and runs no script but Bokeh's, which makes functions from text.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self' ws://127.0.0.1:* ws://localhost:*; object-src 'none'; "
    "base-uri 'none'; form-action 'none'"
)


class _Headers(OutputTransform):
    """Adds what browsers are to know of every answer."""

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        headers["Content-Security-Policy"] = _POLICY
        headers["Referrer-Policy"] = "no-referrer"
        headers["X-Content-Type-Options"] = "nosniff"
        return status_code, headers, chunk


class _GuardedTornado(BokehTornado):
    """Refuses every request, that for a web socket too, without the token at the beginning of its path."""

    def __init__(self, application: Callable[[Document], None], token: str, hosts: list[str]) -> None:
        self._token, self._hosts = token, hosts
        super().__init__(
            {"/": application},
            prefix=token,
            extra_websocket_origins=hosts,
            use_index=False,
            redirect_root=False,
            check_unused_sessions_milliseconds=_CHECK_MS,
            unused_session_lifetime_milliseconds=_SESSION_MS,
            websocket_max_message_size_bytes=_LARGEST_MESSAGE,
            transforms=[_Headers],
            log_function=lambda handler: None,
        )

    def resources(self, absolute_url: str | bool | None = None) -> Any:
        """Give Bokeh's scripts, without those for tables, formulas and 3D, which are half of all."""
        return super().resources(absolute_url).clone(components=list(_SCRIPTS))

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """Give what answers a request."""
        first = request.path.lstrip("/").partition("/")[0]
        known = hmac.compare_digest(first.encode(), self._token.encode())
        if not known or request.headers.get("Host", "") not in self._hosts:
            return self.get_handler_delegate(request, ErrorHandler, {"status_code": 403})
        return super().find_handler(request, **kwargs)


class PageServer:
    """A server in a thread of its own; it listens on loopback as soon as it is made.

    Parameters
    ----------
    application : callable
        Fills the document of each browser.
    port : int
        0 takes a free one.

    Attributes
    ----------
    port : where it listens
    url : address with the token
    """

    def __init__(self, application: Callable[[Document], None], *, port: int = 0) -> None:
        self._socket = _listening(port)
        self.port = int(self._socket.getsockname()[1])
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        self.url = f"http://{ADDRESS}:{self.port}/{token}/"
        hosts = [f"{ADDRESS}:{self.port}", f"localhost:{self.port}"]
        self._loop: IOLoop | None = None
        self._failed: BaseException | None = None
        started = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(application, token, hosts, started), name="edxdask-view", daemon=True
        )
        self._thread.start()
        if not started.wait(_START_SECONDS) or self._failed is not None:
            self._socket.close()
            raise EdxdaskError(f"the viewer's server did not start: {self._failed}") from self._failed

    @property
    def running(self) -> bool:
        """Whether it still answers."""
        return self._thread.is_alive()

    def join(self, seconds: float) -> None:
        """Wait for its end, at most so long."""
        self._thread.join(seconds)

    def stop(self) -> None:
        """Close all connections and the port; returns when that is done."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.add_callback(self._loop.stop)
            self._thread.join()

    def _run(
        self, application: Callable[[Document], None], token: str, hosts: list[str], started: threading.Event
    ) -> None:
        events = asyncio.new_event_loop()
        asyncio.set_event_loop(events)
        try:
            loop = IOLoop.current()
            tornado = _GuardedTornado(application, token, hosts)
            http = HTTPServer(tornado)
            http.add_sockets([self._socket])
            server = BaseServer(loop, tornado, http)
            server.start()
            self._loop = loop
        except BaseException as error:
            self._failed = error
            return
        finally:
            started.set()
        try:
            loop.start()
        finally:
            server.stop()
            with contextlib.suppress(TimeoutError):  # a browser that vanished never says goodbye
                loop.run_sync(http.close_all_connections, timeout=_GOODBYE_SECONDS)
            loop.close()


def _listening(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((ADDRESS, port))
    except (OSError, OverflowError) as error:
        listening.close()
        expected = f"a port that is free and that you may use ({getattr(error, 'strerror', '') or error})"
        raise ParameterError("port", port, expected, "port=0 takes a free one.") from error
    listening.setblocking(False)
    listening.listen(128)
    return listening
