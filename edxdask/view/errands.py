"""Work that a page asks for and does not wait for: in threads, of each kind only the latest."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from bokeh.document import Document

from edxdask.errors import EdxdaskError

logger = logging.getLogger(__name__)

_THREADS = 4
Answer = TypeVar("Answer")


class Errands:
    """Errands of one page.

    Parameters
    ----------
    document : Document
        What answers are given to, in its own turn.
    failed : callable
        Is given the text of an error that the user can do something about.
    """

    def __init__(self, document: Document, failed: Callable[[str], None]) -> None:
        self._document, self._failed = document, failed
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="edxdask-view-page")
        self._latest: dict[str, int] = {}
        self._guard = threading.Lock()
        self._closed = False

    def run(self, kind: str, work: Callable[[], Answer], then: Callable[[Answer], None]) -> None:
        """Do ``work`` in a thread, and give its answer to ``then`` if nothing of its kind came later."""
        with self._guard:
            number = self._latest[kind] = self._latest.get(kind, 0) + 1
            if self._closed:
                return

        def is_latest() -> bool:
            return self._latest[kind] == number and not self._closed

        def job() -> None:
            if not is_latest():
                return
            try:
                answer = work()
            except EdxdaskError as error:
                text = str(error)
                self._later(lambda: self._failed(text) if is_latest() else None)
            except Exception as error:
                if self._closed:
                    return
                logger.exception("the viewer could not do what a page asked for (%s)", kind)
                text = f"{type(error).__name__}: {error}"
                self._later(lambda: self._failed(text) if is_latest() else None)
            else:
                self._later(lambda: then(answer) if is_latest() else None)

        self._pool.submit(job)

    def _later(self, call: Callable[[], None]) -> None:
        if not self._closed:
            self._document.add_next_tick_callback(call)

    def close(self, *, wait: bool = False) -> None:
        """Drop what is not begun yet, and wait for what is, if asked to."""
        with self._guard:
            self._closed = True
        self._pool.shutdown(wait=wait, cancel_futures=True)
