"""The chain: the one place of the validator that talks to bittensor.

    chain = Chain(ChainSettings(network="finney", netuid=51), wallet=load_hotkey(path, "val", "hot"))
    view = chain.view()                       one pinned snapshot an epoch
    outcome = chain.submit_weights(...)       idempotent, checked before, read back after

One class serves the embedded chain, finney, test and any ws:// address. Every call has our own
deadline: the SDK alone waits 302 s for a node that accepts and stays silent. At the deadline the
client is dropped, and the next call makes a new one. SDK exceptions end here: `ChainAway` when no
answer came, `ChainRefused` with the pallet's name, `SettingError` for a user's mistake.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import bittensor as bt
from bittensor import sp_core
from bittensor.intents import normalize
from bittensor.intents.weights import clip_to_max_weight

from storage.records import Head, Neuron, SubnetView, WeightOutcome, WeightStatus, WeightTarget
from tasks.edges.deadline import LoopThread
from tasks.edges.pins import committed_text
from tasks.edges.registering import (
    SHIELDED,
    Place,
    Sent,
    Terms,
    check_terms,
    outcome,
    read_terms,
    send,
)
from tasks.edges.transfers import Arrival, Arrivals, Transfer, transfer_in, transfers_to
from tasks.edges.weight_attempt import Attempt, prepared
from tasks.edges.weight_rules import U16_MAX, ChainRules, same_row, shares
from tasks.errors import BadAnswer, ChainAway, ChainRefused, SettingError

T = TypeVar("T")

EMBEDDED = "embedded"
PRESETS = ("finney", "test", "archive", "devnet", "local")
STOP_S = 3.0
REGISTER_DEADLINE_S = 300.0
"""For a place on the subnet: some blocks of others' registrations, then inclusion and finality."""
BLOCKS_AT_ONCE = 8
"""Whose events are asked for at the same time."""


@dataclass(frozen=True, slots=True)
class ChainSettings:
    """Which chain, which subnet, and how long we wait for it."""

    network: str = EMBEDDED
    """`embedded`, a preset of the SDK (finney, test, local), or a ws:// or wss:// address."""
    netuid: int = 51
    call_deadline_s: float = 45.0
    """For one call, inclusion in a block of 12 s among them."""
    confirm_deadline_s: float = 30.0
    """For weights to show up once they are included."""
    cache: Path = Path(".local/cache/chain")
    """Where the SDK keeps runtime metadata and token symbols; without it, they go to the home folder."""


class Wallet(Protocol):
    """Keys of a role: what signs weights and endpoints is the hotkey alone."""

    @property
    def hotkey(self) -> Any:
        """A keypair."""

    @property
    def coldkeypub(self) -> Any:
        """The owner's public key."""


@runtime_checkable
class SealsWeights(Protocol):
    """A chain that can't open a timelock and takes the plaintext beside the commit."""

    def seal(self, hotkey: str, uids: Sequence[int], values: Sequence[int], version_key: int) -> None:
        """Hand over what the next commit of this hotkey holds."""


class Chain:
    """A chain and a subnet on it. Threads may share it; after a fork it connects anew by itself."""

    def __init__(
        self,
        settings: ChainSettings,
        *,
        wallet: Wallet | None = None,
        substrate_factory: Callable[[], object] | None = None,
    ) -> None:
        """`substrate_factory` makes the embedded chain's substrate, and is refused for any other network."""
        _check_network(settings.network, has_factory=substrate_factory is not None)
        keep_caches_in(settings.cache)
        self.settings = settings
        self._wallet = wallet
        self._factory = substrate_factory
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._session: _Session | None = None

    # --- reads

    def head(self) -> Head:
        """The newest block and where the subnet stands in its tempo."""
        return self._call(self._read_head)

    def view(self) -> SubnetView:
        """The subnet at one block; SettingError when there is no such subnet."""
        return self._call(self._read_view)

    def block_hash(self, block: int) -> str:
        """0x and 64 hex digits; ChainRefused when the chain has no such block yet."""

        async def read(client: bt.Client) -> str:
            return str((await _block_info(client, block)).hash)

        return self._call(read)

    def alpha_price_rao(self) -> int:
        """Rao of TAO for one alpha of the subnet, by the reserves of its pool."""

        async def read(client: bt.Client) -> int:
            try:
                return int((await client.prices.alpha_price(self.settings.netuid))["price_rao"])
            except (KeyError, TypeError, ValueError) as error:
                raise bt.ChainError(f"the runtime tells no alpha price ({error})", "UnknownRuntime") from None

        return self._call(read)

    def transfer(self, extrinsic_id: str, receiver: str) -> Transfer:
        """What a finalised extrinsic (BLOCK-INDEX) sent to this address; ChainRefused, BadAnswer when nothing that can be told."""
        block, index = (int(part) for part in extrinsic_id.split("-"))

        async def read(client: bt.Client) -> object:
            final = await client.finalized_block()
            if block > final:
                raise bt.ChainError(f"block {block} is not final yet, {final} is", "NotFinal")
            return await client.query(("System", "Events"), [], block=block)

        return transfer_in(self._call(read), index, receiver)

    def arrivals(self, receiver: str, after: int | None, most: int) -> Arrivals:
        """What came to this address in the final blocks after one (None: in the newest), at most so many blocks."""

        async def read(client: bt.Client) -> Arrivals:
            final = await client.finalized_block()
            first = max(0, final - most + 1) if after is None else after + 1
            blocks = range(first, min(final, first + most - 1) + 1)
            told: list[tuple[Arrival, ...] | None] = []
            for start in range(0, len(blocks), BLOCKS_AT_ONCE):
                some = blocks[start : start + BLOCKS_AT_ONCE]
                told += await asyncio.gather(*(_arrivals_in(client, block, receiver) for block in some))
            pairs = list(zip(blocks, told, strict=True))
            found = tuple(arrival for _, own in pairs for arrival in own or ())
            unread = tuple(block for block, own in pairs if own is None)
            return Arrivals(max(final, after or 0) if not blocks else blocks[-1], found, unread)

        return self._call(read)

    def registration(self, hotkey: str, coldkey: str) -> Terms:
        """What a place for this hotkey costs now, and what this coldkey has; SettingError when there is no such subnet."""
        return self._call(lambda client: read_terms(client, self.settings.netuid, hotkey, coldkey))

    def alpha_out_rao_per_day(self) -> int:
        """Rao of alpha that the subnet gives out in a day, to owner, validators and miners, at the blocks' present pace."""

        async def read(client: bt.Client) -> int:
            snapshot = await client.at()
            graph, head = await asyncio.gather(
                snapshot.subnets.metagraph(self.settings.netuid, commitments=False),
                self._read_head(client, snapshot),
            )
            try:
                per_block = int(graph.raw["alpha_out_emission"]) if graph is not None else 0
            except (KeyError, TypeError, ValueError) as error:
                raise bt.ChainError(f"the runtime tells no emission ({error})", "UnknownRuntime") from None
            return round(per_block * 86_400 / head.block_time_s)

        return self._call(read)

    def commitment(self, hotkey: str) -> str | None:
        """What a hotkey has committed on the subnet, as far as it can be read; None when nothing."""

        async def read(client: bt.Client) -> str | None:
            found = await client.read("commitment", netuid=self.settings.netuid, hotkey_ss58=hotkey)
            return None if found is None else str(found.data) or str(found.fields)

        return self._call(read)

    def own_row(self) -> tuple[Head, tuple[WeightTarget, ...]]:
        """The newest block and our row there, empty when we set none or have no uid."""

        async def read(client: bt.Client) -> tuple[Head, tuple[WeightTarget, ...]]:
            view = await self._read_view(client)
            return view.head, await self._landed(client, view)

        return self._call(read)

    def rows(self, most: int) -> tuple[Head, dict[str, tuple[WeightTarget, ...]]]:
        """The newest block, and by hotkey the rows of so many validators at most, those with most stake first."""

        async def read(client: bt.Client) -> tuple[Head, dict[str, tuple[WeightTarget, ...]]]:
            view = await self._read_view(client)
            permitted = sorted((n for n in view.neurons if n.has_permit), key=lambda n: (-n.stake_rao, n.uid))
            chosen = permitted[:most]
            found = await asyncio.gather(*(self._row(client, view, neuron.uid) for neuron in chosen))
            return view.head, {n.hotkey: row for n, row in zip(chosen, found, strict=True)}

        return self._call(read)

    def own_weights(self) -> tuple[WeightTarget, ...]:
        """Our row as the chain has it now."""
        return self.own_row()[1]

    def as_sent(self, targets: Sequence[WeightTarget]) -> tuple[WeightTarget, ...]:
        """These targets as they are on the chain once they are set: cut at the subnet's greatest weight, rounded to u16."""

        async def read(client: bt.Client) -> int:
            snapshot = await client.at()
            return _limit(
                await snapshot.query(("SubtensorModule", "MaxWeightsLimit"), [self.settings.netuid])
            )

        row = shares(dict(zip(*_quantised(targets, self._call(read)), strict=True)))
        hotkeys = {t.uid: t.hotkey for t in targets}
        return tuple(WeightTarget(uid, hotkeys[uid], share) for uid, share in sorted(row.items()))

    # --- writes

    def serve(self, address: str, port: int) -> None:
        """Publish our endpoint unless the chain has it already; ChainRefused when it is not taken."""
        host = f"[{address}]" if ip_address(address).version == 6 else address
        me = self.view().by_hotkey(self._hotkey)
        if me is not None and me.endpoint == f"{host}:{port}":
            return
        intent = bt.ServeAxon(netuid=self.settings.netuid, ip=address, port=port)
        result = self._call(lambda client: client.execute(intent, self._signer))
        if not result.success:
            raise ChainRefused(_name(result.error), result.message)

    def commit(self, text: str) -> None:
        """Have our hotkey commit this text, in the place of all that it has committed; ChainRefused when it is not taken."""
        data = text.encode("ascii")
        info = {"fields": [{f"Raw{len(data)}": f"0x{data.hex()}"}]}
        call = bt.calls.Commitments.set_commitment(netuid=self.settings.netuid, info=cast("Any", info))
        # One raw call in a client that refuses them otherwise: the SDK has no intent for it.
        policy = bt.Policy(allow_raw_calls=True)
        result = self._call(
            lambda client: client.submit_call(call, self._signer, signer="hotkey", policy=policy)
        )
        if not result.success:
            raise ChainRefused(_name(result.error), result.message)

    def register(self, coldkey: Any, hotkey: str, *, limit_rao: int) -> Place:
        """A uid for the hotkey, bought by this coldkey for at most so much; one that it has already costs nothing.

        RegistrationRefused says what is in the way. After ChainAway it may be called again: it looks first, and the
        chain takes no hotkey twice.
        """
        owner = str(coldkey.ss58_address)
        before = self.registration(hotkey, owner)
        if before.uid is not None:
            return Place(before.uid, hotkey, is_new=False)
        check_terms(before, limit_rao)
        sent = self._send_registration(coldkey, hotkey, limit_rao)
        return outcome(before, self.registration(hotkey, owner), sent, limit_rao)

    def submit_weights(
        self, targets: Sequence[WeightTarget], *, version_key: int, epoch_began_block: int
    ) -> WeightOutcome:
        """Set weights once an epoch; what became of them is data. ChainAway only before anything was sent."""
        view, rules, landed = self._call(self._read_for_weights)
        if view.head.block < epoch_began_block - 1:
            # It does not show what we have set since, and would be asked to set it again.
            told = f"the node is at block {view.head.block}, behind {epoch_began_block}"
            raise ChainAway(f"{self.settings.network}: {told}, which we know of")
        attempt = prepared(view, rules, targets, hotkey=self._hotkey, version_key=version_key, landed=landed)
        if isinstance(attempt, WeightOutcome):
            return attempt
        return (
            self._already(attempt, epoch_began_block)
            or attempt.refused_by_rules()
            or attempt.too_soon()
            or self._submit(attempt)
        )

    def find_weights(
        self, targets: Sequence[WeightTarget], *, version_key: int, epoch_began_block: int
    ) -> WeightOutcome | None:
        """What the chain has of a vector whose setting nobody saw end; None when there is no sign of it. Sends nothing."""
        view, rules, landed = self._call(self._read_for_weights)
        attempt = prepared(view, rules, targets, hotkey=self._hotkey, version_key=version_key, landed=landed)
        if isinstance(attempt, WeightOutcome):
            return None
        if attempt.dropped:
            # A uid that changed hands since is still in the row that was sent before.
            whole = self._already(replace(attempt, targets=tuple(targets)), epoch_began_block)
            if whole is not None:
                return whole
        return self._already(attempt, epoch_began_block)

    def _send_registration(self, coldkey: Any, hotkey: str, limit_rao: int) -> Sent:
        """What was told of it; nothing is raised, because it may have come through all the same."""
        netuid, may_be_clear = self.settings.netuid, self.settings.network not in SHIELDED
        try:
            result = self._call(
                lambda client: send(client, coldkey, netuid, hotkey, limit_rao, may_be_clear=may_be_clear),
                REGISTER_DEADLINE_S,
            )
        except ChainAway as error:
            return Sent(message=str(error))
        except ChainRefused as error:
            return Sent(refused=error.name, message=str(error))
        name = "" if result.success else _name(result.error)
        return Sent(result.extrinsic_id or "", name, result.message)

    def close(self) -> None:
        """Let the connection go; a later call makes a new one."""
        with self._own_lock():
            session, self._session = self._session, None
        if session is not None:
            session.thread.stop(STOP_S)

    # --- weights

    def _already(self, attempt: Attempt, epoch_began_block: int) -> WeightOutcome | None:
        """What an earlier attempt of this epoch reached, None when this is the first."""
        last = attempt.me.last_update_block
        if last < max(epoch_began_block, attempt.me.registered_at_block + 1):
            return None
        if _holds(attempt, attempt.landed):
            return attempt.ended(WeightStatus.ALREADY_SET, block=last, landed=attempt.landed)
        if not attempt.view.is_commit_reveal:
            return None
        commits = self._call(self._own_commits)
        if not any(block >= epoch_began_block for block in commits):
            return None
        return attempt.ended(
            WeightStatus.COMMITTED, block=last, message="an earlier commit waits for its reveal"
        )

    def _submit(self, attempt: Attempt) -> WeightOutcome:
        """Sign, send, and find out what became of it; never sent a second time."""
        weights = {t.uid: t.weight for t in attempt.targets}
        intent = bt.SetWeights(
            netuid=self.settings.netuid, weights=cast("Any", weights), version_key=attempt.version_key
        )

        async def send(client: bt.Client, substrate: object) -> bt.ExtrinsicResult:
            if attempt.view.is_commit_reveal and isinstance(substrate, SealsWeights):
                substrate.seal(
                    self._hotkey,
                    *_quantised(attempt.targets, attempt.rules.max_weights_limit),
                    attempt.version_key,
                )
            return await client.execute(intent, self._signer, wait_for_finalization=False)

        try:
            result = self._call_with_substrate(send)
        except (ChainAway, ChainRefused) as error:
            return self._after_loss(attempt, error)
        if result.success:
            return self._confirmed(attempt, result.extrinsic_id or "", self.settings.confirm_deadline_s)
        if result.extrinsic_id is None:
            return self._after_loss(attempt, ChainRefused(_name(result.error), result.message))
        refused = attempt.refused_by_chain(_name(result.error), result.message, result.extrinsic_id)
        if refused.status is not WeightStatus.NOT_YET:
            return refused
        # It was not too soon a moment ago: what a run that died had sent may just have landed.
        found = self._confirmed(attempt, "", 0.0)
        return refused if found.status is WeightStatus.UNKNOWN else found

    def _after_loss(self, attempt: Attempt, error: ChainAway | ChainRefused) -> WeightOutcome:
        """No block is known to hold the submission: it may be in one all the same, so look."""
        refusal = error if isinstance(error, ChainRefused) and error.name != "Unknown" else None
        found = self._confirmed(attempt, "", 0.0 if refusal else self.settings.confirm_deadline_s)
        if found.status is not WeightStatus.UNKNOWN:
            return found
        if refusal is not None:
            return attempt.refused_by_chain(refusal.name, str(refusal), "")
        return replace(found, message=f"the result was lost ({error}); the next run reads it back first")

    def _confirmed(self, attempt: Attempt, extrinsic_id: str, patience_s: float) -> WeightOutcome:
        """Read the chain back until it holds what was sent, or patience ends."""
        included = int(extrinsic_id.partition("-")[0]) if extrinsic_id else 0

        async def watch(client: bt.Client) -> WeightOutcome | None:
            pause_s = await client.block_time()
            while True:
                view = await self._read_view(client)
                me = view.by_hotkey(self._hotkey)
                if me is not None and me.last_update_block > attempt.me.last_update_block:
                    landed = await self._landed(client, view)
                    block = included or me.last_update_block
                    if _holds(attempt, landed):
                        return attempt.ended(WeightStatus.CONFIRMED, block=block, landed=landed)
                    if view.is_commit_reveal:
                        return attempt.ended(WeightStatus.COMMITTED, block=block, landed=landed)
                if time.monotonic() + pause_s > enough:
                    return None
                await asyncio.sleep(pause_s)

        enough = time.monotonic() + patience_s
        try:
            found = self._call(watch, patience_s + self.settings.call_deadline_s)
        except (ChainAway, ChainRefused) as error:
            found, why = None, str(error)
        else:
            why = "the chain does not hold what was sent"
        lost = attempt.ended(WeightStatus.UNKNOWN, block=included, code="NotConfirmed", message=why)
        return replace(found or lost, extrinsic_id=extrinsic_id)

    # --- reading

    async def _read_head(self, client: bt.Client, snapshot: Any = None) -> Head:
        snapshot = snapshot or await client.at()
        info, status, block_time_s = await asyncio.gather(
            _block_info(client, snapshot.block),
            snapshot.read("epoch_status", netuid=self.settings.netuid),
            snapshot.block_time(),
        )
        last = int(status["last_epoch_block"])
        return Head(
            block=snapshot.block,
            block_hash=str(info.hash),
            time=info.timestamp,
            block_time_s=float(block_time_s),
            tempo=int(status["tempo"]),
            last_epoch_block=last,
            next_epoch_block=int(status["next_epoch_start_block"] or last + int(status["tempo"])),
        )

    async def _read_view(self, client: bt.Client) -> SubnetView:
        netuid, snapshot = self.settings.netuid, await client.at()
        graph, parameters, head, committed = await asyncio.gather(
            snapshot.subnets.metagraph(netuid, commitments=False),
            snapshot.read("subnet_hyperparameters", netuid=netuid),
            self._read_head(client, snapshot),
            snapshot.query_map(("Commitments", "CommitmentOf"), [netuid]),
        )
        if graph is None or parameters is None:
            raise SettingError("netuid", str(netuid), f"a subnet of {self.settings.network}")
        return SubnetView(
            netuid=netuid,
            head=head,
            neurons=_with_commitments(map(_neuron, graph.neurons), committed),
            owner_hotkey=graph.owner_hotkey,
            weights_version=_parameter(parameters, "weights_version"),
            weights_rate_limit_blocks=_parameter(parameters, "weights_rate_limit"),
            min_allowed_weights=_parameter(parameters, "min_allowed_weights"),
            is_commit_reveal=bool(_parameter(parameters, "commit_reveal_weights_enabled")),
            reveal_period_tempos=max(1, int(parameters.get("commit_reveal_period") or 1)),
        )

    async def _read_for_weights(
        self, client: bt.Client
    ) -> tuple[SubnetView, ChainRules, tuple[WeightTarget, ...]]:
        """The view, the rules that it does not tell, and our row, at one block."""
        netuid, view = self.settings.netuid, await self._read_view(client)
        snapshot = await client.at(view.head.block)
        consensus, threshold, limit, landed = await asyncio.gather(
            snapshot.query(("SubtensorModule", "SubnetEpochConsensus"), [netuid]),
            snapshot.query(("SubtensorModule", "StakeThreshold")),
            snapshot.query(("SubtensorModule", "MaxWeightsLimit"), [netuid]),
            self._landed(client, view),
        )
        rules = ChainRules(
            consensus=next(iter(consensus)) if isinstance(consensus, Mapping) else str(consensus),
            stake_threshold_rao=int(threshold or 0),
            max_weights_limit=_limit(limit),
        )
        return view, rules, landed

    async def _landed(self, client: bt.Client, view: SubnetView) -> tuple[WeightTarget, ...]:
        """Our row at the view's block."""
        me = view.by_hotkey(self._hotkey)
        return () if me is None else await self._row(client, view, me.uid)

    async def _row(self, client: bt.Client, view: SubnetView, uid: int) -> tuple[WeightTarget, ...]:
        """A validator's weights at the view's block."""
        item = ("SubtensorModule", "Weights")
        pairs = await client.query(item, [view.netuid, uid], block=view.head.block)
        owners = {n.uid: n.hotkey for n in view.neurons}
        row = shares({int(target): int(value) for target, value in pairs or []})
        return tuple(WeightTarget(at, owners.get(at, ""), share) for at, share in sorted(row.items()))

    async def _own_commits(self, client: bt.Client) -> tuple[int, ...]:
        """The blocks of our commits that wait for their reveal."""
        waiting = await client.read("timelocked_weight_commits", netuid=self.settings.netuid)
        commits = (commit for epoch in waiting.values() for commit in epoch)
        return tuple(int(c["commit_block"]) for c in commits if c["hotkey"] == self._hotkey)

    # --- calls under a deadline

    @property
    def _signer(self) -> Any:
        if self._wallet is None:
            raise SettingError("wallet", "none", "a wallet with a hotkey: this chain is opened for reading")
        return self._wallet.hotkey

    @property
    def _hotkey(self) -> str:
        return str(self._signer.ss58_address)

    def _call(self, work: Callable[[bt.Client], Awaitable[T]], deadline_s: float | None = None) -> T:
        return self._call_with_substrate(lambda client, _: work(client), deadline_s)

    def _call_with_substrate(
        self, work: Callable[[bt.Client, object], Awaitable[T]], deadline_s: float | None = None
    ) -> T:
        """Run it on the session's loop and translate what the SDK raises; a lost session is dropped."""
        deadline_s = deadline_s or self.settings.call_deadline_s
        session = self._live_session()
        try:
            return session.thread.run(lambda: session.work(work), deadline_s)
        except (TimeoutError, CancelledError):
            self._drop(session)
            raise ChainAway(f"{self.settings.network} did not answer within {deadline_s:g} s") from None
        except (bt.RpcConnectionError, bt.ConnectionNotReady, OSError) as error:
            self._drop(session)
            raise ChainAway(f"{self.settings.network}: {error}") from None
        except bt.PolicyError as error:
            raise ChainRefused("PolicyViolation", str(error)) from None
        except bt.ChainError as error:
            raise ChainRefused(_name(error), error.message) from None
        except bt.BittensorError as error:
            raise ChainRefused("SdkRefused", str(error)) from None

    def _live_session(self) -> _Session:
        with self._own_lock():
            if self._session is None:
                substrate = self._factory() if self._factory is not None else None
                policy = bt.Policy(allowed_netuids=[self.settings.netuid])
                network = "local" if self.settings.network == EMBEDDED else self.settings.network
                client = bt.Client(network, policy=policy, substrate=cast("Any", substrate))
                self._session = _Session(client, substrate)
            return self._session

    def _drop(self, session: _Session) -> None:
        with self._own_lock():
            if self._session is session:
                self._session = None
        session.thread.stop()

    def _own_lock(self) -> threading.Lock:
        """The lock; in a forked child a fresh one, and without the parent's session."""
        if os.getpid() != self._pid:
            self._pid, self._lock, self._session = os.getpid(), threading.Lock(), None
        return self._lock


class _Session:
    """An SDK client on a loop of its own, connected at its first use."""

    def __init__(self, client: bt.Client, substrate: object) -> None:
        self._client, self._substrate = client, substrate
        self._connecting = asyncio.Lock()
        self._connected = False
        self.thread = LoopThread("chain", client.close)

    async def work(self, work: Callable[[bt.Client, object], Awaitable[T]]) -> T:
        """Connect once, then do it."""
        async with self._connecting:
            if not self._connected:
                await self._client.connect()
                self._connected = True
        return await work(self._client, self._substrate)


# --- settings and wallets --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HotkeyWallet:
    """What a validator or miner has on its host: the hotkey, and its owner's public key if it is there."""

    hotkey: Any
    coldkeypub: Any | None


def load_hotkey(path: Path, name: str, hotkey: str, password: str | None = None) -> HotkeyWallet:
    """The wallet's hotkey from `path/name/hotkeys/hotkey`; SettingError when it can't be read.

    The coldkey is never touched; `coldkeypub.txt` is read when it is there.
    """
    for key, value in (("wallet name", name), ("hotkey name", hotkey)):
        if not value or "/" in value or value.startswith("."):
            raise SettingError(key, value, "a plain file name")
    wallet = bt.Wallet(name, hotkey, path=str(path))
    file = path / name / "hotkeys" / hotkey
    if not file.is_file():
        raise SettingError("hotkey file", str(file), "an existing file; `btcli wallet new-hotkey` makes it")
    if sp_core.keyfile_data_is_encrypted(file.read_bytes()) and password is None:
        raise SettingError("hotkey password", "not set", f"the password of {file}, which is encrypted")
    try:
        key = wallet.get_hotkey(password)
        has_owner = (path / name / "coldkeypub.txt").is_file()
        return HotkeyWallet(hotkey=key, coldkeypub=wallet.coldkeypub if has_owner else None)
    except (sp_core.KeyfileError, sp_core.WrongPasswordError, ValueError, OSError) as error:
        raise SettingError("hotkey file", str(file), f"a key file that can be read ({error})") from None


def keep_caches_in(folder: Path) -> None:
    """Have the SDK keep its files here instead of in the home folder; for the whole process."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["BITTENSOR_RUNTIME_CACHE_DIR"] = str(folder.resolve())
    os.environ["BTCLI_TOKEN_SYMBOLS_CACHE"] = str(folder.resolve() / "token_symbols.json")


def _check_network(network: str, *, has_factory: bool) -> None:
    known = network in (EMBEDDED, *PRESETS) or network.startswith(("ws://", "wss://"))
    if not known:
        wanted = ", ".join((EMBEDDED, *PRESETS))
        raise SettingError("network", network, f"one of {wanted}, or a ws:// or wss:// address")
    if (network == EMBEDDED) != has_factory:
        wanted = "given with a substrate" if network == EMBEDDED else "used without a local substrate"
        raise SettingError("network", network, f"a network that is {wanted}")


# --- the SDK's answers -----------------------------------------------------------------------------


async def _block_info(client: bt.Client, block: int) -> bt.BlockInfo:
    info = await client.block_info(block)
    if info is None or not info.hash:
        raise bt.ChainError(f"the chain has no block {block}", "UnknownBlock")
    return info


async def _arrivals_in(client: bt.Client, block: int, receiver: str) -> tuple[Arrival, ...] | None:
    """What a block had for an address; None when the node can't tell it."""
    try:
        sent = transfers_to(await client.query(("System", "Events"), [], block=block), receiver)
        if not sent:
            return ()
        at = (await _block_info(client, block)).timestamp
    except (bt.ChainError, BadAnswer):
        return None
    return tuple(Arrival(f"{block}-{index}", block, at, one) for index, one in sent.items())


def _neuron(neuron: bt.MetagraphNeuron) -> Neuron:
    locked = neuron.collateral_locked
    return Neuron(
        uid=neuron.uid,
        hotkey=neuron.hotkey,
        coldkey=neuron.coldkey,
        endpoint=neuron.axon,
        is_active=neuron.active,
        has_permit=neuron.validator_permit,
        stake_rao=neuron.total_stake.rao,
        last_update_block=neuron.last_update,
        registered_at_block=neuron.block_at_registration,
        incentive=neuron.incentive,
        dividends=neuron.dividends,
        collateral_locked_rao=None if locked is None else locked.rao,
    )


def _with_commitments(neurons: Iterable[Neuron], committed: Iterable[tuple[Any, Any]]) -> tuple[Neuron, ...]:
    """What each has committed of its door's keys; whatever else a hotkey commits says nothing to us."""
    ours = {str(hotkey): committed_text(_fields(record)) for hotkey, record in committed}
    return tuple(replace(n, tls_commitment=text) if (text := ours.get(n.hotkey)) else n for n in neurons)


def _fields(record: Any) -> list[object]:
    try:
        return list(record["info"]["fields"])
    except (KeyError, TypeError):
        return []


def _parameter(parameters: Mapping[str, Any], name: str) -> int:
    """A hyperparameter; names differ between runtimes, so a missing one is a clear refusal."""
    value = parameters.get(name)
    if not isinstance(value, int):
        raise bt.ChainError(f"the runtime's hyperparameters have no {name}", "UnknownRuntime")
    return value


def _limit(told: Any) -> int:
    """The greatest weight; runtimes that tell none have none."""
    return U16_MAX if told is None else int(told)


def _quantised(targets: Sequence[WeightTarget], limit: int) -> tuple[list[int], list[int]]:
    """The uids and u16 values that the SDK will send for these targets."""
    ordered = sorted(targets, key=lambda t: t.uid)
    weights = [t.weight for t in ordered]
    if limit < U16_MAX and len(ordered) > 1:
        weights = clip_to_max_weight(weights, limit / U16_MAX)
    uids, values = normalize([t.uid for t in ordered], weights)
    return list(uids), list(values)


def _holds(attempt: Attempt, landed: Sequence[WeightTarget]) -> bool:
    """Whether the chain's row is what the attempt wants to set."""
    wanted = shares(dict(zip(*_quantised(attempt.targets, attempt.rules.max_weights_limit), strict=True)))
    return same_row(wanted, {t.uid: t.weight for t in landed})


def _name(error: bt.ChainError | None) -> str:
    """The pallet's name, or the SDK's class of error when the chain gave none."""
    if error is None:
        return "Unknown"
    return error.name or error.code.value.title().replace("_", "")
