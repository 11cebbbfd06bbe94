"""What can go wrong in memory itself, drawn. The flow stops an epoch on these; no machine is to blame.

StorageError
├── DatabaseAway      the database does not answer, is locked for too long, or its disk is full
├── SchemaUnknown     a database or a file was written by newer code than this
├── EpochLost         the epoch is not open any more, or another run has taken it over
├── HistoryDamaged    a file of the history cannot be read
└── QueryRefused      a query is no single SELECT, is wrong, or takes more than it may
"""

from __future__ import annotations


class StorageError(Exception):
    """State or history could not be read or written."""


class DatabaseAway(StorageError):
    """The database does not answer; trying again may help."""


class SchemaUnknown(StorageError):
    """What is stored was written by newer code than this; the mend is to run that code."""


class EpochLost(StorageError):
    """This run may not write to the epoch: it is closed, or belongs to another run."""

    def __init__(self, epoch: int) -> None:
        super().__init__(
            f"epoch {epoch} is not open under this run any more: it was closed, or another run took it over"
        )
        self.epoch = epoch


class HistoryDamaged(StorageError):
    """A file of the history cannot be read; `path` names it."""

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(f"{path} cannot be read: {detail}")
        self.path = path


class QueryRefused(StorageError):
    """A query over the history that can't be answered; whoever wrote it mends it."""
