"""Which kernels run: the vector ones, or ordinary loops. The one place that decides.

``EDXDASK_KERNELS`` may name one of ``BACKENDS``. Without it the vector kernels run, and the plain ones, with
one warning, where those cannot be compiled: with another numba or llvmlite, or on a processor for
which LLVM cannot make such code. To add a backend: a module with the functions of ``contract.Kernels``, and
its name here.
"""

from __future__ import annotations

import importlib
import os
import threading
import warnings
from typing import cast

from edxdask.errors import ParameterError
from edxdask.photons.kernels.announce import announce_compilation
from edxdask.photons.kernels.contract import Kernels

VARIABLE = "EDXDASK_KERNELS"
VECTOR, PLAIN = "vector", "plain"
BACKENDS = {VECTOR: "edxdask.photons.kernels.vector", PLAIN: "edxdask.photons.kernels.plain"}

_choosing = threading.Lock()
_chosen: dict[str, str] = {}  # the backend by the variable's value at first use


def kernels() -> Kernels:
    """Return the backend of this process.

    Examples
    --------
    >>> callable(kernels().likelihood_sweep)
    True
    """
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in _chosen:  # asked without the lock: a fork of this process may find it closed for ever
        with _choosing:
            if wanted not in _chosen:
                _chosen[wanted] = _choose(wanted)
    return load_backend(_chosen[wanted])


def load_backend(name: str) -> Kernels:
    """Return one of ``BACKENDS`` by its name."""
    return cast(Kernels, importlib.import_module(BACKENDS[name]))


def _choose(wanted: str) -> str:
    if not _chosen:
        announce_compilation()
    if wanted == PLAIN:
        return PLAIN
    if wanted not in ("", VECTOR):
        names = " or ".join(repr(name) for name in BACKENDS)
        raise ParameterError(VARIABLE, wanted, f"{names}, or nothing", f"export {VARIABLE}={VECTOR}")
    reason = _why_no_vectors()
    if not reason:
        return VECTOR
    if wanted:
        fix = f"export {VARIABLE}={PLAIN}"
        raise ParameterError(
            VARIABLE, wanted, f"kernels that can be compiled here; these cannot: {reason}", fix
        )
    warnings.warn(
        f"edxdask's vector kernels cannot be compiled here ({reason}): ordinary loops are used instead. "
        f"Results are the same, but work on photons is several times slower. export {VARIABLE}={PLAIN} does "
        "the same without this warning.",
        RuntimeWarning,
        stacklevel=4,
    )
    return PLAIN


def _why_no_vectors() -> str:
    """Return why the vector kernels cannot be compiled; empty where they can."""
    try:
        importlib.import_module(f"{BACKENDS[VECTOR]}.probe").probe()
    except Exception as error:  # a compiler may raise anything; the caller gets the reason
        lines = str(error).strip().splitlines()
        return f"{type(error).__name__}: {lines[-1].strip() if lines else 'no message'}"
    return ""
