"""The process that reads vendor files, as its parent sees it: started, listened to, kept for the next file.

Starting one takes 0.6 s, nearly all of it the import of numba; a small map is read in less. So a child that
has read a file to its end without a fault is kept for a while and given the next one. A child in which
anything went wrong, or that ran out of time, is ended at once, and the kernel ends all with their parent.
"""

from __future__ import annotations

import atexit
import logging
import os
import subprocess
import sys
import threading
from collections import deque
from multiprocessing import Pipe
from pathlib import Path
from typing import IO, Any

logger = logging.getLogger(__name__)

KEPT_SECONDS = 20.0


class Child:
    """A process that serves ``sandbox.py``.

    Attributes
    ----------
    process, connection : the process, our end of the socket to it
    used : whether it has read a file before
    """

    def __init__(self) -> None:
        self.used = False
        self.connection, theirs = Pipe()
        self._noise: deque[bytes] = deque(maxlen=40)
        places = [str(Path(__file__).resolve().parents[2]), *filter(None, sys.path)]
        settings = {
            "PYTHONPATH": os.pathsep.join(dict.fromkeys(places)),
            # one process, one band at a time: threads would only take memory
            **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
        }
        # -P: a module beside the user's data must not be imported in place of a real one
        command = [sys.executable, "-P", "-m", "edxdask.io.sandbox", str(theirs.fileno()), str(os.getpid())]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, **settings},
            **_inherits(theirs.fileno()),
        )
        theirs.close()
        self._drain = threading.Thread(target=self._listen, args=(self.process.stderr,), daemon=True)
        self._drain.start()

    def stop(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()
        self.connection.close()
        self._drain.join()
        if self._noise:
            logger.debug("vendor reader, stderr: %s", b"".join(self._noise).decode(errors="replace"))

    def _listen(self, stream: IO[bytes]) -> None:
        """Read the child's stderr, so that it never waits for a reader; keep the end of it."""
        while piece := stream.read1(4096):  # type: ignore[attr-defined]  # Popen's pipe is buffered
            self._noise.append(piece)
        stream.close()


def _inherits(handle: int) -> dict[str, Any]:
    """Arguments of Popen with which a child has this handle, and a separate session (or group)."""
    if sys.platform != "win32":
        return {"pass_fds": [handle], "start_new_session": True}
    os.set_handle_inheritable(handle, True)
    startup = subprocess.STARTUPINFO(lpAttributeList={"handle_list": [handle]})
    return {"startupinfo": startup, "creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}


class _Shelf:
    """Place for one child that waits for work."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._owner = 0
        self._timer: threading.Timer | None = None

    def take(self) -> Child | None:
        """Child that waits, if there is one and this process started it: a fork must not send to it."""
        with self._lock:
            child, self._child = self._child, None
            if self._timer is not None:
                self._timer.cancel()
        if child is None or self._owner != os.getpid():
            return None
        if child.process.poll() is not None:
            child.stop()
            return None
        return child

    def put(self, child: Child) -> None:
        """Keep a child; a child that was kept before is ended."""
        child.used = True
        self.clear()
        with self._lock:
            self._child, self._owner = child, os.getpid()
            self._timer = threading.Timer(KEPT_SECONDS, self.clear)
            self._timer.daemon = True
            self._timer.start()

    def clear(self) -> None:
        """End the child that waits."""
        child = self.take()
        if child is not None:
            child.stop()


_shelf = _Shelf()
atexit.register(_shelf.clear)


def get_child() -> Child:
    """Child that waits for work, or a new one."""
    return _shelf.take() or Child()


def keep(child: Child) -> None:
    """Give back a child that has read its file to the end and waits for the next."""
    _shelf.put(child)


def clear() -> None:
    """End the child that waits, if there is one."""
    _shelf.clear()
