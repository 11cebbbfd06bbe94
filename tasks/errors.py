"""The error family, drawn. Failure of a machine is data (`Reason`); these are our own trouble or a user's mistake.

    SubnetError
    ├── UserError                 the caller mends it: exit code 2
    │   ├── SettingError          a setting or file does not fit: key, value, what was expected
    │   ├── PolicyRefused         a policy may not be used here
    │   ├── CollateralRefused     a move of collateral that the ledger does not allow
    │   ├── SpecRefused           no container can be made of this: key, value, what was expected
    │   ├── RegistrationRefused   no place on the subnet can be bought so: code, what is in the way, the mend
    │   ├── MoveRefused           a lease can't go from where it stands to there
    │   ├── MarketRefused         the market's API said no: status, code, detail, mend
    │   ├── NotLoggedIn           there is no API key for this market
    │   └── EpochBusy             another run has the epoch, or it is closed already
    ├── TransportError            try again: the other side may be back
    │   ├── ChainAway             no chain answered within our deadline
    │   ├── MinerAway             a miner's agent did not answer
    │   ├── SourceAway            a source of prices did not answer
    │   ├── StoreAway             our own store did not answer in time
    │   ├── MarketAway            the market's API did not answer
    │   ├── HostAway              an executor did not answer, or the session was lost
    │   └── EngineAway            no container engine of a machine answers
    ├── HostileAnswer             the other side answered what may not be: never tried again
    │   ├── HostKeyMismatch       another host key than the miner signed
    │   ├── LimitExceeded         a budget of bytes, packets or time was overrun
    │   └── BadAnswer             what came does not fit its schema or signature
    │       ├── RunnerRefused     our program on an executor says that it can't: `code`, `detail`
    │       └── NotAuthentic      who sent it is not proved: `code` says what did not hold
    ├── EngineRefused             a machine's container engine said no: `step`, `code`, its words
    │   ├── ImageRefused          an image that can't be had there
    │   ├── ContainerRefused      a container that can't be made, started, stopped, asked or removed
    │   └── VolumeRefused         a volume that can't be made, saved, restored or removed
    ├── NothingFits               no machine of the market is what a renter wants and free
    ├── OperationFailed           what was asked of a lease could not be done
    ├── StepFailed                a step of work on a lease: `step`, `party`, what went wrong
    ├── OnboardingFailed          a step of bringing a machine in: `step`, `machine`, why, the command that mends it
    ├── ProofRefused              a machine's cards could not be proved for a lease: `code`, `detail`
    ├── EndAsked                  the lease's end was asked for while it was worked on: undo, and end it
    ├── LeaseMoved                somebody else has moved the lease on: stop at once, it is not ours any more
    ├── LeaseFailed               no machine could be handed over: nothing was charged
    ├── NoVerdicts                no machine was heard at all: the weights stay as they are
    ├── NoWeights                 no weight vector can be made: of a score that is no number, of an owner without uid
    └── ChainRefused              the chain said no: `name` is the pallet's own error name

Library exceptions never cross an edge: `tasks/edges/*` translates them once, into the most specific class.
Every class carries its facts as fields; the text says what was got, what was wanted and the mend.
"""

from __future__ import annotations


class SubnetError(Exception):
    """Something of ours, or of those we talk to, went wrong."""

    exit_code = 1
    """Of a command that it ends."""


class UserError(SubnetError):
    """The caller can mend it; the command ends with exit code 2."""

    exit_code = 2


class SettingError(UserError):
    """A setting or a file does not fit."""

    def __init__(self, key: str, value: str, expected: str) -> None:
        super().__init__(f"{key} is {value!r}, expected {expected}")
        self.key, self.value, self.expected = key, value, expected


class PolicyRefused(UserError):
    """A policy may not be used here."""


class CollateralRefused(UserError):
    """The ledger does not allow this move: nothing has moved."""


class SpecRefused(UserError):
    """No container can be made of this."""

    def __init__(self, key: str, value: str, expected: str) -> None:
        super().__init__(f"{key} is {value[:100]!r}, expected {expected}")
        self.key, self.value, self.expected = key, value, expected


class RegistrationRefused(UserError):
    """No place on the subnet can be bought so; `code` is ours and stable, and nothing but fees was paid."""

    def __init__(self, code: str, detail: str, mend: str) -> None:
        super().__init__(f"{code}: {detail}\n  {mend}")
        self.code, self.detail, self.mend = code, detail, mend


class MoveRefused(UserError):
    """A lease can't go from where it stands to there: nothing has changed."""

    def __init__(self, lease_id: str, state: str, wanted: str) -> None:
        super().__init__(f"lease {lease_id} is {state}: it can't be {wanted} from there")
        self.lease_id, self.state, self.wanted = lease_id, state, wanted


class MarketRefused(UserError):
    """The market's API said no; `mend` is its advice, and its text is printable."""

    def __init__(self, status: int, code: str, detail: str, mend: str = "") -> None:
        told = f"{code}: {detail}" if code else detail
        super().__init__(f"{told}\n  {mend}" if mend else told)
        self.status, self.code, self.detail, self.mend = status, code, detail, mend
        self.exit_code = _EXIT_CODES.get(status, 2 if status < 500 else 1)


_EXIT_CODES = {401: 3, 403: 3, 402: 4, 429: 1}
"""Of refusals that a script may want to tell from others: the key, the balance, the rate."""


class NotLoggedIn(UserError):
    """There is no API key for this market on this computer."""

    exit_code = 3

    def __init__(self, url: str) -> None:
        super().__init__(
            f"no API key for {url} is kept here\n  `subnet rent login` takes it from standard input; a market's operator makes one"
        )
        self.url = url


class EpochBusy(UserError):
    """Another run has the epoch, or it is closed already; wait for the next."""

    def __init__(self, epoch: int, detail: str) -> None:
        super().__init__(f"epoch {epoch} can't be opened: {detail}")
        self.epoch, self.detail = epoch, detail


class TransportError(SubnetError):
    """The other side did not answer; trying again may help."""


class ChainAway(TransportError):
    """No chain answered within our deadline."""


class MinerAway(TransportError):
    """A miner's agent did not answer."""


class SourceAway(TransportError):
    """A source of prices did not answer; the last good price is used."""


class StoreAway(TransportError):
    """Our own store did not answer in time, or its disk is full."""


class MarketAway(TransportError):
    """The market's API did not answer, or with what only a broken server answers."""

    def __init__(self, url: str, detail: str) -> None:
        super().__init__(f"{url} does not answer: {detail}")
        self.url, self.detail = url, detail


class HostAway(TransportError):
    """An executor did not answer, or the session was lost; `phase` says where."""

    def __init__(self, phase: str, detail: str) -> None:
        super().__init__(f"{phase}: {detail}")
        self.phase, self.detail = phase, detail


class LeftBehind(TransportError):
    """A wave of the proof went on without a machine that was not ready when all were that are waited for."""

    def __init__(self) -> None:
        super().__init__("not ready when all others were")


class EngineAway(TransportError):
    """No container engine of a machine answers: there is none, or it is down; `words` are its own."""

    def __init__(self, step: str, words: str) -> None:
        super().__init__(f"{step}: no container engine answers: {words}")
        self.step, self.words = step, words


class HostileAnswer(SubnetError):
    """The other side answered what may not be; asking again is pointless."""


class HostKeyMismatch(HostileAnswer):
    """The server's host key is not the one that the miner signed."""

    def __init__(self, got: bytes, wanted: bytes) -> None:
        super().__init__(f"host key {got.hex()} is not the announced {wanted.hex()}")
        self.got, self.wanted = got, wanted


class KeyNotPinned(HostileAnswer):
    """Who answers by TLS shows no key that the miner's hotkey has committed on the chain."""


class LimitExceeded(HostileAnswer):
    """A budget was overrun: `budget` names it."""

    def __init__(self, budget: str, limit: str) -> None:
        super().__init__(f"{budget} over its limit of {limit}")
        self.budget, self.limit = budget, limit


class BadAnswer(HostileAnswer):
    """What came does not fit its schema, or its signature does not hold."""


class NotAuthentic(BadAnswer):
    """Who sent it is not proved; `code` is stable, `detail` may be shown to the sender."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


class RunnerRefused(BadAnswer):
    """Our program on the executor says that it could not do what was asked; `code` is its reason."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


class EngineRefused(SubnetError):
    """A machine's container engine said no; `code` is ours and stable, `words` are the engine's, bounded."""

    def __init__(self, step: str, code: str, words: str) -> None:
        super().__init__(f"{step}: {code}: {words}")
        self.step, self.code, self.words = step, code, words


class ImageRefused(EngineRefused):
    """An image that can't be had on this machine."""


class ContainerRefused(EngineRefused):
    """A container that can't be made, started, stopped, asked or removed."""


class VolumeRefused(EngineRefused):
    """A volume that can't be made, saved, restored or removed."""


class ChainRefused(SubnetError):
    """The chain said no."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name


class StepFailed(SubnetError):
    """A step of work on a lease failed, and whose fault it is; the cause is its `__cause__`."""

    def __init__(self, step: str, party: str, why: str) -> None:
        super().__init__(f"{step}: {why}")
        self.step, self.party, self.why = step, party, why


class OnboardingFailed(SubnetError):
    """A step of bringing a machine in, or of taking it out, failed; `mend` is a command to copy, empty when none does alone."""

    def __init__(self, step: str, machine: str, why: str, mend: str = "") -> None:
        super().__init__(f"{machine}: {step}: {why}" + (f"\n  {mend}" if mend else ""))
        self.step, self.machine, self.why, self.mend = step, machine, why, mend


class ProofRefused(SubnetError):
    """The cards of a lease are not proved; `code` is the proof's own."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


class EndAsked(SubnetError):
    """The end of a lease was asked for while it was worked on."""

    def __init__(self, lease_id: str) -> None:
        super().__init__(f"the end of lease {lease_id} was asked for")
        self.lease_id = lease_id


class LeaseMoved(SubnetError):
    """Somebody else works on the lease, or has moved it on: whoever finds that has nothing to do there any more."""

    def __init__(self, lease_id: str, detail: str) -> None:
        super().__init__(f"lease {lease_id} is not ours any more: {detail}")
        self.lease_id, self.detail = lease_id, detail


class LeaseFailed(SubnetError):
    """No machine could be handed over, or the lease ended on the way: nothing was charged."""

    exit_code = 5

    def __init__(self, lease_id: str, state: str, party: str, reason: str) -> None:
        super().__init__(
            f"lease {lease_id} {state} ({party}): {reason or 'no reason was told'}; nothing was charged"
        )
        self.lease_id, self.state, self.party, self.reason = lease_id, state, party, reason


class NothingFits(SubnetError):
    """No machine of the market is what a renter wants and free: nothing was asked for."""

    exit_code = 5


class OperationFailed(SubnetError):
    """What was asked of a lease could not be done; the lease is as it was, or as `subnet rent show` tells."""

    def __init__(self, lease_id: str, kind: str, party: str, reason: str) -> None:
        super().__init__(f"{kind} of lease {lease_id} failed ({party}): {reason or 'no reason was told'}")
        self.lease_id, self.kind, self.party, self.reason = lease_id, kind, party, reason


class NoVerdicts(SubnetError):
    """No machine was heard at all: most likely our own line is down, and the weights stay as they are."""

    def __init__(self, machines: int) -> None:
        super().__init__(
            f"none of {machines} machines gave a verdict, so the weights stay as they are; check this validator's own network"
        )
        self.machines = machines


class NoWeights(SubnetError):
    """No weight vector can be made of these scores; nothing is set."""
