"""Exceptions: what went wrong, in the words of the command line, as a class for each kind.

Each is a `DreamError`, and also the exception of Python's own that one would expect there: a run that is not
in the store is a `LookupError`, a wrong parameter a `ValueError`, and so on. Ctrl-C is a `KeyboardInterrupt`,
as everywhere.
"""

__all__ = [
    "ChangedError",
    "CorruptError",
    "DivergedError",
    "DreamError",
    "ExistsError",
    "FileError",
    "InternalError",
    "LockedError",
    "MissingError",
    "RefusedError",
    "ResourceError",
    "StoppedError",
    "UnsupportedError",
]


class DreamError(Exception):
    """An error of `dream_ood`."""


class MissingError(DreamError, LookupError):
    """What was named is not there: a store, a run, a table, a column, a class."""


class ExistsError(DreamError, ValueError):
    """What was to be made is there already."""


class RefusedError(DreamError, ValueError):
    """A question that cannot be answered as it was asked: a value out of range, inputs that do not fit
    together.

    `refusals` lists all that was refused before any work: the stage, the parameter, and what is wrong with
    it.
    """

    refusals: list[tuple[str, str, str]] = []


class ChangedError(DreamError, ValueError):
    """Something is no longer, or not, what is on record of it."""


class LockedError(DreamError, RuntimeError):
    """Someone else holds what is needed, or it may only be read."""


class CorruptError(DreamError, ValueError):
    """Bytes that are not what was written, or not what their format demands."""


class UnsupportedError(DreamError, NotImplementedError):
    """Well-formed, and beyond what this version does."""


class StoppedError(DreamError, RuntimeError):
    """The work was stopped; what was committed stays."""


class DivergedError(DreamError, ArithmeticError):
    """Numbers that should be finite are not."""


class ResourceError(DreamError, MemoryError):
    """Memory, disk or processor do not suffice."""


class FileError(DreamError, OSError):
    """The system refused to read or write."""


class InternalError(DreamError, RuntimeError):
    """A fault of this library or of one that it stands on."""
