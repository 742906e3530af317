"""Readers that crash or hang, to prove that the child process contains them."""

from __future__ import annotations

import os
import signal


class _Bad:
    name = "bad"

    def __init__(self, act):
        self.act = act

    def open(self, path, options):
        self.act()


def _spin():
    while True:
        pass


CRASHES = _Bad(lambda: os.kill(os.getpid(), signal.SIGSEGV))
HANGS = _Bad(_spin)
