"""Messages between us and the child process that reads a vendor file: JSON, then raw arrays.

No pickles: the child works on bytes from anywhere, and what it sends is checked like any file.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection as connections
from typing import Any, TypeAlias

import numpy as np

_MAX_TEXT = 256 << 20  # vendor metadata of large files run to tens of MB
_KINDS = "biuf"

OUT_OF_TIME = 124  # exit status of a child that has used its time, where no signal says so; as of timeout(1)

if sys.platform == "win32":
    Connection: TypeAlias = connections.PipeConnection
else:
    Connection: TypeAlias = connections.Connection


def connection_from(handle: int) -> Connection:
    """Return our end of the pipe that the parent process left open."""
    return Connection(handle)


class WireError(Exception):
    """What was received is not a message."""


@dataclass(frozen=True)
class Message:
    """One message: what it is, its fields, its arrays."""

    kind: str
    fields: dict[str, Any]
    arrays: tuple[np.ndarray, ...] = ()


def send(
    connection: Connection, kind: str, fields: dict[str, Any], arrays: Sequence[np.ndarray] = ()
) -> None:
    """Send one message."""
    plain = [np.ascontiguousarray(a) for a in arrays]
    specs = [{"dtype": a.dtype.str, "shape": a.shape} for a in plain]
    text = json.dumps({"kind": kind, "fields": fields, "arrays": specs}, default=_plain)
    connection.send_bytes(text.encode())
    for array in plain:
        if array.nbytes:
            connection.send_bytes(_bytes_of(array))


def receive(connection: Connection, *, max_bytes: int) -> Message:
    """Wait for one message; raises ``EOFError`` if the other side is gone, ``WireError`` on bad data."""
    try:
        text = json.loads(connection.recv_bytes(_MAX_TEXT))
        arrays = tuple(_receive_array(connection, spec, max_bytes) for spec in text["arrays"])
        kind, fields = text["kind"], text["fields"]
    except EOFError:
        raise
    except ConnectionError as error:
        raise EOFError from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise WireError(f"it sent no valid message ({type(error).__name__}: {error})") from error
    if not isinstance(kind, str) or not isinstance(fields, dict):
        raise WireError("it sent no valid message")
    return Message(kind, fields, arrays)


def _receive_array(connection: Connection, spec: dict[str, Any], max_bytes: int) -> np.ndarray:
    dtype, shape = np.dtype(spec["dtype"]), tuple(int(n) for n in spec["shape"])
    nbytes = math.prod(shape) * dtype.itemsize
    if dtype.kind not in _KINDS or min(shape, default=0) < 0:
        raise ValueError(f"array of {dtype} and shape {shape}")
    if nbytes > max_bytes:
        raise ValueError(f"an array of {nbytes} bytes; at most {max_bytes} are accepted")
    array = np.empty(shape, dtype=dtype)
    if nbytes:
        got = connection.recv_bytes_into(_bytes_of(array))
        if got != nbytes:
            raise ValueError(f"{got} bytes for an array of {nbytes}")
    return array


def _bytes_of(array: np.ndarray) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8).data)


def _plain(value: Any) -> Any:
    """Metadata as JSON: arrays become lists, bytes text, everything else its string."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)
