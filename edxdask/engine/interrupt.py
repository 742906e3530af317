"""Ctrl-C between rounds: a state half way through a round belongs to no factors and could not be resumed."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

logger = logging.getLogger(__name__)

Handler = Callable[[int, FrameType | None], object]


class HeldInterrupt:
    """Whether Ctrl-C was pressed, and the handler it had; a second Ctrl-C calls that at once."""

    def __init__(self, handler: Handler | None) -> None:
        self._handler = handler
        self.seen = False

    def hold(self, number: int, frame: FrameType | None) -> None:
        """Take the place of the handler."""
        if self.seen:
            self.deliver()
        self.seen = True
        logger.warning("stopping after this round; press Ctrl-C again to stop at once")

    def deliver(self) -> None:
        """Do what Ctrl-C does in this program: by default, raise ``KeyboardInterrupt``."""
        self.seen = False
        if self._handler is not None:
            self._handler(signal.SIGINT, None)


@contextmanager
def held_interrupt() -> Iterator[HeldInterrupt]:
    """Hold back Ctrl-C inside; changes nothing outside the main thread or where Ctrl-C is ignored."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield HeldInterrupt(None)
        return
    held = HeldInterrupt(before)
    signal.signal(signal.SIGINT, held.hold)
    try:
        yield held
    finally:
        signal.signal(signal.SIGINT, before)
