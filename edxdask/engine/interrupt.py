"""Ctrl-C between rounds: a state half way through a round belongs to no factors and could not be resumed."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

logger = logging.getLogger(__name__)


@contextmanager
def interrupt_after_round() -> Iterator[Callable[[], bool]]:
    """Hold back a first Ctrl-C and tell of it when asked; a second one interrupts at once.

    Where Ctrl-C is not Python's own (another thread, a handler of the program), nothing is changed.
    """
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    seen = threading.Event()

    def hold(number: int, frame: FrameType | None) -> None:
        if seen.is_set():
            raise KeyboardInterrupt
        seen.set()
        logger.warning("stopping after this round; press Ctrl-C again to stop at once")

    signal.signal(signal.SIGINT, hold)
    try:
        yield seen.is_set
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
