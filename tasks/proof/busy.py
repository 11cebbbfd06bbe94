"""Who holds a machine's cards: the statement that goes out with GO, and the rule that excuses BUSY by one.

Two fills can't be on one card. A machine that is being proved by another validator may therefore answer BUSY, but
only with what that validator has signed: else BUSY would be a way out of every proof. An excuse gives no verdict; it
pays nobody.

A statement is a signed text (`tasks/edges/signing.py`) of these lines: protocol version, netuid, miner hotkey,
executor id, validator hotkey, block, unix seconds at which it was made, BLAKE2s of GO without its statement (hex).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from kernels import messages
from kernels.messages import Go
from storage.records import Reason, Severity
from tasks.proof.challenge import Challenge, Origin
from tasks.proof.reasons import reason

BUSY, BUSY_OUR_OWN = "BUSY", "BUSY_OUR_OWN"
MAX_AGE_S = 60
MAX_SKEW_S = 5
"""How far another validator's clock may be ahead of ours."""

_TEXT = re.compile(
    r"subnet/statement/1\n(?:sr25519|ed25519)\n"
    rf"{messages.VERSION}\n"
    r"(?P<netuid>[0-9]{1,5})\n"
    r"(?P<miner_hotkey>5[1-9A-HJ-NP-Za-km-z]{47})\n"
    r"(?P<executor_id>[a-z0-9-]{1,64})\n"
    r"(?P<validator_hotkey>5[1-9A-HJ-NP-Za-km-z]{47})\n"
    r"(?P<block>[0-9]{1,12})\n"
    r"(?P<made_at>[0-9]{1,12})\n"
    r"(?P<go>[0-9a-f]{64})\n"
    r"[0-9a-f]{128}",
    re.ASCII,
)


def own_proof(executor_key: str) -> str:
    """The claim (`storage/claims.py`) that tells our epochs that a process of ours proves cards of this machine."""
    return f"proof/{executor_key}"


@dataclass(frozen=True, slots=True)
class Statement:
    """A validator holds the cards of this machine."""

    netuid: int
    miner_hotkey: str
    executor_id: str
    validator_hotkey: str
    block: int
    made_at: int
    """Unix seconds, by the clock of the validator that made it."""
    go: str
    """64 hex digits: what the machine was asked, so that the validator's transcript can be held against it."""

    @property
    def lines(self) -> tuple[str, ...]:
        """What is signed, without the form's own first lines."""
        machine = (str(self.netuid), self.miner_hotkey, self.executor_id)
        return (
            str(messages.VERSION),
            *machine,
            self.validator_hotkey,
            str(self.block),
            str(self.made_at),
            self.go,
        )


def digest_of(go: Go) -> str:
    """64 hex digits of what a machine is asked, its statement left out."""
    return hashlib.blake2s(messages.encode(replace(go, statement=""))).hexdigest()


def statement_of(origin: Origin, go_digest: str, now_s: float) -> Statement:
    """What we say when we send the GO of this digest."""
    return Statement(
        netuid=origin.netuid,
        miner_hotkey=origin.miner_hotkey,
        executor_id=origin.executor_id,
        validator_hotkey=origin.validator_hotkey,
        block=origin.block,
        made_at=int(now_s),
        go=go_digest,
    )


def read_statement(text: str) -> Statement | None:
    """What a text claims, its signature not looked at; None when it has not exactly the form."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    names = {"netuid", "block", "made_at"}
    return Statement(**{k: int(v) if k in names else v for k, v in match.groupdict().items()})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Notary:
    """What makes statements good: our key, the chain's permits, a clock, and a signature's check."""

    sign: Callable[[tuple[str, ...]], str]
    """Lines to a signed text."""
    is_signed_by: Callable[[str, str], bool]
    """Whether this text is signed by this hotkey."""
    permitted: frozenset[str]
    """Hotkeys with a validator's permit on the epoch's snapshot."""
    now: Callable[[], float]
    """Unix seconds."""
    is_ours_elsewhere: Callable[[str], bool] = lambda _: False
    """Whether another process of ours proves cards of this machine (by its key) at the moment."""

    def statement(self, origin: Origin, go_digest: str) -> str:
        """That we hold the cards of this machine from now on."""
        return self.sign(statement_of(origin, go_digest, self.now()).lines)

    def judge(self, challenge: Challenge, holder: str) -> Reason:
        """What an answer BUSY with this text means for the machine."""
        return judge_busy(challenge.origin, holder, self)


def judge_busy(origin: Origin, holder: str, notary: Notary) -> Reason:
    """No verdict where another validator really holds the cards, else a failure by the first thing that does not hold.

    An excused machine is not asked again in the same epoch: outside of the common wave, a proof would say nothing about
    its cards being there for this machine alone.
    """
    said = read_statement(holder)
    for code, got in _objections(origin, holder, said, notary):
        wanted = f"the statement of a validator that holds the cards, at most {MAX_AGE_S} s old"
        return reason(code, Severity.FAIL, got, wanted)
    assert said is not None
    got = f"held for {said.validator_hotkey} since {max(0.0, notary.now() - said.made_at):.0f} s"
    return reason(BUSY, Severity.NO_VERDICT, got, "idle cards")


def _objections(
    origin: Origin, holder: str, said: Statement | None, notary: Notary
) -> Iterator[tuple[str, str]]:
    """What speaks against an excuse, the cheap looks first."""
    if said is None:
        yield (
            ("BUSY_MALFORMED", f"a text of {len(holder)} characters")
            if holder
            else ("BUSY_WITHOUT_HOLDER", "busy, and nothing said about for whom")
        )
        return
    machine = (said.netuid, said.miner_hotkey, said.executor_id)
    if machine != (origin.netuid, origin.miner_hotkey, origin.executor_id):
        yield "BUSY_OTHER_MACHINE", f"held as {'/'.join(str(part) for part in machine)}"
    is_ours = said.validator_hotkey == origin.validator_hotkey
    if is_ours and not notary.is_ours_elsewhere(origin.executor_key):
        yield BUSY_OUR_OWN, "held for ourselves"
    if said.validator_hotkey not in notary.permitted:
        yield "BUSY_NO_PERMIT", f"held for {said.validator_hotkey}, which has no permit"
    age_s = notary.now() - said.made_at
    if age_s > MAX_AGE_S:
        yield "BUSY_TOO_OLD", f"a statement of {age_s:.0f} s ago"
    if age_s < -MAX_SKEW_S:
        yield "BUSY_NOT_YET", f"a statement {-age_s:.0f} s ahead of our clock"
    if not notary.is_signed_by(holder, said.validator_hotkey):
        yield "BUSY_FORGED", f"not signed by {said.validator_hotkey}"
