"""Says that kernels are being compiled: a first run that is silent for seconds seems stuck."""

from __future__ import annotations

import logging

from numba.core import event

logger = logging.getLogger(__name__)

COMPILING = "numba:compile"  # numba's event; kernels that are found in its cache cause none
LONG = ("edxdask.photons.kernels.vector.updates", "edxdask.photons.kernels.vector.products")  # half the time
MESSAGE = (
    "edxdask compiles its kernels for this machine: this run takes up to half a minute longer. "
    "They are kept, so that the next runs start at once"
)


class _Announcer(event.Listener):
    """Logs once, when the first of the kernels that take long to compile is compiled."""

    said = False

    def on_start(self, happening: event.Event) -> None:
        """Numba begins to compile; it compiles one function at a time."""
        if not self.said and happening.data["dispatcher"].py_func.__module__ in LONG:
            self.said = True
            logger.warning(MESSAGE)

    def on_end(self, happening: event.Event) -> None:
        """Nothing to do, but the base class requires it."""


def announce_compilation() -> None:
    """Log one line when kernels of this process are compiled; nothing where they are in numba's cache.

    A warning, so that it is seen without settings for the log.
    """
    event.register(COMPILING, _Announcer())
