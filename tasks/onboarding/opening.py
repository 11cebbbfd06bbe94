"""Once machines are proved: a place on the subnet, the agent's file, and the agent."""

from __future__ import annotations

import base64
import json
import time
from contextlib import closing

from tasks.edges.registering import Terms, tao
from tasks.edges.wallets import hotkey_address, is_coldkey_encrypted, load_coldkey, owner_address
from tasks.errors import OnboardingFailed, SubnetError, TransportError
from tasks.inspection.talk import run_program, start_runner
from tasks.offering import fleet
from tasks.onboarding.admitting import price_of
from tasks.onboarding.confinement.files import RENT_USER
from tasks.onboarding.installing import announced
from tasks.onboarding.login import looked_up
from tasks.onboarding.machine import Machine
from tasks.onboarding.stages import AGENT, HERE, OFFER, PLACE
from tasks.onboarding.work import Onboarding
from tasks.policy import digest_of
from tasks.stepping import step

POLL_S, REACH_S = 0.5, 20.0
KNOCK = "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).close()"
"""Run on a machine, with the agent's address."""
ANSWER_S = 90.0
"""For an agent to listen, and for the chain to tell validators where."""


@step("take a place", deadline_s=900.0)
async def take_place(work: Onboarding) -> None:
    """The hotkey is registered, for at most what was agreed to; one that is already costs nothing."""
    await work.call(_take_place, work)


@step("offer", deadline_s=60.0)
async def offer(work: Onboarding) -> None:
    """Every proved machine stands in the agent's file; one that can't be written there costs only itself."""
    await work.call(_offer_all, work)


@step("serve", deadline_s=300.0)
async def serve(work: Onboarding) -> None:
    """The agent runs with that file, and the chain tells validators where; whose owner runs it elsewhere, it ends here."""
    if work.going:
        await work.call(_serve if work.wishes.runs_agent else _leave_to_owner, work)


def _take_place(work: Onboarding) -> None:
    wallet = work.wishes.wallet
    owner = owner_address(wallet.path, wallet.name)
    with work.here(PLACE, mend="subnet miner register") as turn:
        hotkey = hotkey_address(wallet.path, wallet.name, wallet.hotkey)
        terms = work.chain.registration(hotkey, owner)
        turn.is_new = terms.uid is None
        turn.detail = f"uid {terms.uid}" if terms.uid is not None else _bought(work, hotkey, terms)


def _bought(work: Onboarding, hotkey: str, terms: Terms) -> str:
    wallet = work.wishes.wallet
    limit_rao = work.limit_rao
    if limit_rao is None:
        # It had a place when that was planned, or the chain was away then.
        limit_rao = work.limit_rao = work.human.ceiling_rao(terms.price_rao)
    password, work.coldkey_password = work.coldkey_password, None
    if password is None and is_coldkey_encrypted(wallet.path, wallet.name):
        password = work.human.coldkey_password()
    coldkey = load_coldkey(wallet.path, wallet.name, password)
    place = work.chain.register(coldkey, hotkey, limit_rao=limit_rao)
    return f"uid {place.uid}, {tao(place.spent_rao)} TAO paid, fees among them"


def _offer_all(work: Onboarding) -> None:
    for machine in work.going:
        try:
            entry = _entry(work, machine)
            with work.at(OFFER, machine, mark=digest_of(str(entry))) as turn:
                turn.is_new = fleet.change(work.wishes.agent_file, fleet.add(entry), begin=_head(work))
                price = entry["price_usd_per_hour"]
                turn.detail = f"{entry['id']} at {price:g} USD an hour, in {work.wishes.agent_file}"
        except OnboardingFailed as failure:
            work.fail(failure)
        except SubnetError as error:
            work.fail(OnboardingFailed(OFFER.name, machine.label, str(error)))


def _entry(work: Onboarding, machine: Machine) -> fleet.Entry:
    """The machine's table; its price stays what its owner has made of it."""
    executor = announced(work, machine)
    entry: dict[str, str | int | float] = {
        "id": executor.executor_id,
        "address": executor.address,
        "port": executor.port,
        "user": executor.user,
        "python": executor.python,
        "host_key": f"ssh-ed25519 {base64.b64encode(executor.host_key).decode()}",
    }
    if work.wishes.has_engine:
        entry["rent_user"] = RENT_USER
    price = price_of(work, work.plan.report_of(machine))
    assert price is not None, "it was planned"
    return entry | {"price_usd_per_hour": price}


def _head(work: Onboarding) -> str:
    """What stands above the machines of a file that is made here."""
    lines = {"folder": str(work.folder), "ssh_ca": str(work.authority_file)}
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())


def _serve(work: Onboarding) -> None:
    command = f"subnet miner serve --config {work.wishes.agent_file}"
    with work.here(AGENT, mend=command) as turn:
        serving = work.serving
        assert serving is not None, "it was planned"
        turn.is_new = work.agent.ensure(serving.words(work.wishes))
        _until_announced(work, serving.endpoint)
        address, port = serving.address, serving.announced_port
        turn.detail = f"at {address} port {port}, {_reach(work, address, port)}, log {work.agent.log}"


def end_agent(work: Onboarding) -> None:
    """The agent that was started here, if it runs, has ended."""
    if work.agent.running() is not None:
        with work.at(AGENT) as turn:
            work.agent.stop()
            turn.detail = "stopped"


def _leave_to_owner(work: Onboarding) -> None:
    try:
        end_agent(work)
    except OnboardingFailed as failure:
        work.fail_all(failure)


def _reach(work: Onboarding, address: str, port: int) -> str:
    """Who of the machines, which see this computer from outside, reaches the agent: told, since validators may all the same."""
    reached = sum(_is_reached(work, machine, address, port) for machine in work.going)
    if reached:
        return f"reached from {reached} of {len(work.going)} machines"
    return (
        f"NOT reached from any machine: let port {port} through to {address}, or name another by --announce"
    )


def _is_reached(work: Onboarding, machine: Machine, address: str, port: int) -> bool:
    host_key, deadline = work.pins.of(machine), time.monotonic() + REACH_S
    assert host_key is not None, "it was looked at"
    try:
        session = work.shell.open(looked_up(machine).executor(host_key), work.key, deadline=deadline)
        with closing(session):
            start_runner(session, deadline=deadline)
            words = (machine.python, "-I", "-c", KNOCK, address, str(port))
            output = run_program(session, words, timeout_s=8.0, limit_bytes=64, deadline=deadline)
    except SubnetError:
        return False
    return output.exit_code == 0


def _until_announced(work: Onboarding, wanted: str) -> None:
    """Until the agent has told the chain where it is: it does so once it listens, and has seen its own place."""
    wallet, until = work.wishes.wallet, time.monotonic() + ANSWER_S
    hotkey = hotkey_address(wallet.path, wallet.name, wallet.hotkey)
    while True:
        if work.agent.running() is None:
            raise OnboardingFailed(AGENT.name, HERE, f"it ended: {work.agent.last_words()[-300:]}")
        me = None
        try:
            me = work.chain.view().by_hotkey(hotkey)
        except TransportError:
            if time.monotonic() > until:
                raise
        if me is not None and me.endpoint == wanted:
            return
        if time.monotonic() > until:
            told = me.endpoint if me is not None else "no such miner"
            raise OnboardingFailed(
                AGENT.name, HERE, f"the chain says {told}, not {wanted}: {work.agent.last_words()}"
            )
        time.sleep(POLL_S)
