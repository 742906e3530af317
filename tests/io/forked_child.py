"""A stand-in for ``Popen`` in ``edxdask.io.child`` that forks, so that hundreds of files fit a test.

Starting Python and importing numba and HDF5 takes a second for each child; a fork of this process has them.
What runs in the child is the same: ``sandbox.main`` with its limits and session, in a process to crash in.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings

from edxdask.io import sandbox


class ForkedChild:
    """As much of ``Popen`` as ``Child`` uses."""

    def __init__(self, command, *, pass_fds, **_):
        read, write = os.pipe()
        with warnings.catch_warnings():
            # the checksum's thread runs beside us; the child touches nothing that it may hold
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            self._child(command, write)
        os.close(write)
        self.stderr = os.fdopen(read, "rb")
        self.returncode = None
        assert pass_fds == [int(command[-2])]

    @staticmethod
    def _child(command, write):
        status = 70
        try:
            os.setsid()
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            os.dup2(write, 2)
            sys.stderr = os.fdopen(2, "w")
            status = sandbox.main(command[-2:])
        finally:
            os._exit(status)

    def kill(self):
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout=None):
        ends = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            pid, status = os.waitpid(self.pid, 0 if ends is None else os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > ends:
                raise subprocess.TimeoutExpired("child", timeout)
            else:
                time.sleep(0.001)
        return self.returncode
