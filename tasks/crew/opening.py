"""Hiring the hands of an epoch, and letting them go whatever happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

from storage.claims import Claims
from tasks.crew.foreman import Crew
from tasks.crew.orders import Begin
from tasks.edges.signing import is_signed_by, sign_statement
from tasks.edges.wire import MAX_EXECUTORS
from tasks.epoch import EpochRun
from tasks.proof.busy import own_proof
from tasks.proof.slots import permitted

TINY_PACKETS, TINY_READS = 2_000, 500
"""Of a session with a machine: a visit and a proof take some hundreds, most of them full."""
MACHINES_A_HAND = 64
"""With fewer it is not worth it to start another."""


@asynccontextmanager
async def crewed(run: EpochRun) -> AsyncIterator[None]:
    """In this block the run has hands; they end with it."""
    crew = Crew(run.edges.roster(), begin_of(run), _Office(run), run.progress.step)
    run.crew = crew
    try:
        yield
    finally:
        run.crew = None
        await crew.close()
        if crew.lost:
            run.note_losses(crew.lost)


def hands_for(machines: int, most: int) -> int:
    """How many hands so many machines are worth."""
    return max(1, min(most, -(-machines // MACHINES_A_HAND)))


def begin_of(run: EpochRun) -> Begin:
    """What a hand is told first; what is bounded for the validator as a whole is shared out evenly."""
    share, shell = run.edges.most_hands, run.edges.shell.settings
    return Begin(
        shell=replace(
            shell,
            starts_per_s=shell.starts_per_s / share,
            max_handshakes=max(1, shell.max_handshakes // share),
            # Replies of our runner's alone: each is written at once.
            bounds=replace(shell.bounds, tiny_packets=TINY_PACKETS, tiny_reads=TINY_READS),
        ),
        policy=run.policy,
        netuid=run.view.netuid,
        own_hotkey=run.edges.own_hotkey,
        permitted=tuple(sorted(permitted(run.view))),
        # A wave needs a session for each member at once, and one miner's machines are never split over waves.
        most_sessions=-(-max(run.edges.max_sessions, MAX_EXECUTORS) // share),
        most_open=-(-max(run.edges.max_open, run.edges.max_sessions, MAX_EXECUTORS) // share),
        most_probes=max(1, run.policy.inspection.bandwidth_probes_at_once // share),
    )


class _Office:
    """Answers what hands may ask: the hotkey and the database stay here."""

    def __init__(self, run: EpochRun) -> None:
        self._signer, self._claims = run.edges.peers.signer, Claims(run.edges.engine)

    def sign(self, lines: tuple[str, ...]) -> str:
        """A signed text in our name."""
        return sign_statement(self._signer, lines)

    def is_signed_by(self, text: str, hotkey: str) -> bool:
        """Whether this text is signed by this hotkey."""
        return is_signed_by(text, hotkey)

    def is_ours_elsewhere(self, executor_key: str) -> bool:
        """Whether a lease's proof of ours is at this machine's cards."""
        return own_proof(executor_key) in self._claims.held(datetime.now(UTC))
