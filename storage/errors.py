"""What can go wrong in memory itself, drawn. The flow stops an epoch on these; no machine is to blame.

StorageError
├── DatabaseAway      the database does not answer, is locked for too long, or its disk is full
├── SchemaUnknown     a database or a file was written by newer code than this
├── EpochLost         the epoch is not open any more, or another run has taken it over
├── HistoryDamaged    a file of the history cannot be read
├── QueryRefused      a query is no single SELECT, is wrong, or takes more than it may
├── CardsTaken        another lease holds a card of this machine
├── VolumeBusy        a volume is another lease's, on another machine, being wiped, or there is none
├── SealBroken        what was sealed can't be opened: another key, another subject, or damage
├── NotBalanced       a transfer does not sum to zero: no money comes from nowhere
├── ShortOfFunds      an account has less than what it should give
└── TooMany           a renter has as many things of this kind as it may have
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


class CardsTaken(StorageError):
    """Another lease holds a card of this machine: try the next machine."""

    def __init__(self, executor_key: str, card_uuid: str) -> None:
        super().__init__(f"card {card_uuid} of {executor_key} is held by another lease")
        self.executor_key, self.card_uuid = executor_key, card_uuid


class VolumeBusy(StorageError):
    """A volume can't be mounted there now."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"volume {name} can't be mounted: {detail}")
        self.name, self.detail = name, detail


class SealBroken(StorageError):
    """What was sealed can't be opened; the mend is the key file that it was sealed with."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"the secrets of {subject} can't be opened: another key, or they are damaged")
        self.subject = subject


class NotBalanced(StorageError):
    """A transfer whose sides do not sum to zero, or name an account twice: a fault of ours."""

    def __init__(self, transfer_id: str, total_micro_usd: int, total_rao: int = 0) -> None:
        super().__init__(
            f"transfer {transfer_id} sums to {total_micro_usd} micro-USD and {total_rao} rao over its accounts, expected 0"
        )
        self.transfer_id, self.total_micro_usd, self.total_rao = transfer_id, total_micro_usd, total_rao


class ShortOfFunds(StorageError):
    """An account has less than what it should give."""

    def __init__(self, account: str, has_micro_usd: int, needs_micro_usd: int) -> None:
        super().__init__(
            f"{account} has {has_micro_usd / 1e6:.6f} USD, {needs_micro_usd / 1e6:.6f} USD are due"
        )
        self.account, self.has_micro_usd, self.needs_micro_usd = account, has_micro_usd, needs_micro_usd


class TooMany(StorageError):
    """A renter has as many of these as it may: it drops one first."""

    def __init__(self, what: str, at_most: int) -> None:
        super().__init__(f"{what}: {at_most} are there, as many as may be")
        self.what, self.at_most = what, at_most
