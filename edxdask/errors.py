"""Every error edxdask raises on purpose: what is wrong, the value seen, what was expected, what to do.

``exit_code`` is what the command line returns: 2 where the call itself is wrong, 1 where the work failed.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "ChunkError",
    "CorruptStoreError",
    "EdxdaskError",
    "ForeignStoreError",
    "IncompleteStoreError",
    "MemoryBudgetError",
    "MissingDependencyError",
    "MissingStoreError",
    "NewerSchemaError",
    "ParameterError",
    "SchemaError",
    "StoreBusyError",
    "StoreError",
    "StoreExistsError",
    "StoreWriteError",
    "VendorFileError",
]


NO_READER = "none"  # of a vendor file that no reader took


class EdxdaskError(Exception):
    """Base of all errors of this package; catch it to catch them all.

    Examples
    --------
    >>> import edxdask
    >>> try:
    ...     edxdask.open("/nowhere.zarr")
    ... except edxdask.EdxdaskError as error:
    ...     type(error).__name__
    'MissingStoreError'
    """

    exit_code = 1


class ParameterError(EdxdaskError, ValueError):
    """A parameter has a value that cannot work.

    The command line spells parameters in ``fix`` as its options: ``bin=4`` becomes ``--bin 4``. Where the
    advice is more than a parameter, ``typed_fix`` says it for those who type commands.
    """

    exit_code = 2

    def __init__(
        self, parameter: str, value: object, expected: str, fix: str = "", *, typed_fix: str = ""
    ) -> None:
        self.parameter, self.value, self.expected, self.fix = parameter, value, expected, fix
        self.typed_fix = typed_fix
        super().__init__(f"{parameter}={value!r}: expected {expected}." + (f" {fix}" if fix else ""))

    def __reduce__(self) -> tuple[object, ...]:  # workers send errors to the client
        made_of = (self.parameter, self.value, self.expected, self.fix)
        return type(self), made_of, {"typed_fix": self.typed_fix}


class SchemaError(EdxdaskError, ValueError):
    """A Dataset is not what the schema says it should be."""


class ChunkError(EdxdaskError, ValueError):
    """The chunks of an array do not fit the operation; the message holds the call that fixes it."""


class MemoryBudgetError(EdxdaskError, MemoryError):
    """The work would not fit the memory it was given; raised before the work starts."""


class MissingDependencyError(EdxdaskError, ImportError):
    """An optional package is needed and not installed."""


class VendorFileError(EdxdaskError):
    """A vendor file could not be read: by an exception, a crash, a hang or wrong totals."""

    def __init__(self, path: str | Path, reader: str, stage: str, reason: str) -> None:
        self.path, self.reader, self.stage, self.reason = str(path), reader, stage, reason
        failed = "" if reader == NO_READER else f"the {reader} reader failed while it was {stage}: "
        super().__init__(f"{self.path}: {failed}{reason}")

    def __reduce__(self) -> tuple[type, tuple[str, str, str, str]]:
        return type(self), (self.path, self.reader, self.stage, self.reason)


class StoreError(EdxdaskError):
    """Base of everything that can be wrong with a store."""


class MissingStoreError(StoreError, FileNotFoundError):
    """There is nothing at the path of a store."""

    exit_code = 2


class StoreExistsError(StoreError):
    """The target of a write exists and may not be replaced."""

    exit_code = 2


class StoreBusyError(StoreError):
    """Another process is writing this store now."""


class StoreWriteError(StoreError):
    """A store could not be written to the end (full disk, no permission); what was finished is kept."""


class IncompleteStoreError(StoreError):
    """A store whose ingest did not finish; the message says how to resume."""


class ForeignStoreError(StoreError):
    """Not a store, or not one of ours."""


class NewerSchemaError(StoreError):
    """Written by a newer edxdask than this one."""


class CorruptStoreError(StoreError):
    """A store that claims to be complete and is not, or has chunks that fail their checksum."""
