"""An epoch's run over real edges, for the steps that talk to machines: a state of its own, no chain is asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from deployments.localnet.chain.actors import dev_wallet
from deployments.localnet.chain.substrate import LocalSubstrate
from storage.records import EpochHeader, Executor, ExecutorRecord, Head, HostReport, MinerReply, SubnetView
from storage.state import State
from tasks.crew.opening import begin_of, crewed
from tasks.crew.station import Station, Suspect
from tasks.edges.chain import EMBEDDED, Chain, ChainSettings
from tasks.edges.peers import Peers
from tasks.edges.shell import Shell
from tasks.edges.signing import sign_statement
from tasks.epoch import Edges, EpochRun
from tasks.inspection.step import inspect
from tasks.policy import LOCALNET, Policy
from tests.databases import fresh

NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)
HEADER = EpochHeader(7, 51, 350, "0x" + "ab" * 32, "5Validator", "localnet", "00ff", "0.1.0", NOON)


@contextlib.contextmanager
def edges_in(
    folder: Path, *, node: str | None = None, max_sessions: int = 8, max_open: int = 10_000
) -> Iterator[Edges]:
    """Edges whose state and history lie in the folder; the chain is the embedded one, or that of a node."""
    wallet = dev_wallet("v1")
    engine = fresh(folder, "state.sqlite")
    chain = Chain(
        ChainSettings(network=node or EMBEDDED, cache=folder / "cache", call_deadline_s=0.5),
        wallet=wallet,
        substrate_factory=None if node else lambda: LocalSubstrate(folder / "chain.sqlite"),
    )
    try:
        yield Edges(
            chain=chain,
            peers=Peers(wallet.hotkey),
            shell=Shell(),
            engine=engine,
            history=folder / "history",
            own_hotkey=wallet.hotkey.ss58_address,
            is_embedded=True,
            max_sessions=max_sessions,
            max_open=max_open,
        )
    finally:
        chain.close()
        engine.dispose()


@contextlib.contextmanager
def run_over(
    edges: Edges, *, policy: Policy = LOCALNET, records: Mapping[str, ExecutorRecord] | None = None
) -> Iterator[EpochRun]:
    """Epoch 7, open under this process."""
    state = State(edges.engine)
    state.open_epoch(HEADER)
    view = view_at(350)
    with EpochRun(edges, state=state, header=HEADER, policy=policy, view=view, records=records or {}) as run:
        yield run


def station_of(run: EpochRun, *executors: Executor) -> Station:
    """What a hand of this run would visit these machines with, in this very thread."""

    def answer(what: str, lines: tuple[str, ...]) -> str:
        return sign_statement(run.edges.peers.signer, lines) if what == "sign" else "no"

    station = Station(begin_of(run), answer, Suspect())
    station.admit({e.key: run.access_to(e) for e in executors})
    return station


async def inspected(run: EpochRun, executors: Sequence[Executor]) -> tuple[HostReport, ...]:
    """Inspection as a step, with hands of its own."""
    async with crewed(run):
        return await inspect(run, executors)


def view_at(block: int) -> SubnetView:
    """A subnet without any neuron."""
    head = Head(block, HEADER.block_hash, NOON, 12.0, 50, block, block + 50)
    return SubnetView(51, head, (), "5Owner", 0, 50, 0, is_commit_reveal=False)


def list_in_state(run: EpochRun, *executors: Executor) -> None:
    """As discovery leaves them."""
    hotkeys = dict.fromkeys(e.miner_hotkey for e in executors)
    run.state.save_discovery(run.epoch, [MinerReply(h, 1, (), ()) for h in hotkeys], executors)
