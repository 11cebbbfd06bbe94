"""The proof of a lease's cards on real local machines, outside of any epoch."""

import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from bittensor import sp_core

from kernels.lock import CardLocks
from storage.claims import Claims
from storage.records import Card, Severity
from tasks.edges.signing import is_signed_by, sign_statement
from tasks.errors import HostAway
from tasks.inspection.models import find
from tasks.inspection.talk import start_runner
from tasks.policy import LOCALNET
from tasks.proof.busy import Notary, Statement, own_proof
from tasks.proof.challenge import ProofKind
from tasks.proof.verdict import verify_transcript
from tasks.renting.proving import Subject, Surroundings, certificate_of, is_busy, prove_cards
from tasks.renting.site import SshSite
from tests.databases import fresh
from tests.deployments.localnet.visiting import HOTKEY, announced, cast, enter, make, served
from tests.tasks.renting.leases import NOON, rental

MACHINE = "basalt-2"
OURS = sp_core.Keypair.create_from_uri("//Ours")
PATIENCE_S = 60.0

pytestmark = pytest.mark.xdist_group("proving")


@pytest.fixture(scope="module")
def place(request, tmp_path_factory):
    """A local machine that is served, and the folder that it lies in."""
    folder = tmp_path_factory.mktemp("machine")
    made = make(folder / "localnet", [MACHINE], request.config.cache.mkdir("kernels"))
    with served(made) as machines:
        yield folder / "localnet", machines[MACHINE], Path(made[MACHINE].environment["SUBNET_PROOF_LOCKS"])


@pytest.fixture
def claims(tmp_path):
    engine = fresh(tmp_path)
    yield Claims(engine)
    engine.dispose()


@pytest.fixture
def around(place, claims):
    """What a proof needs, over real sessions to the machine."""
    folder, machine, _ = place

    def open_session(deadline):
        session = enter(folder, machine)
        start_runner(session, deadline=deadline)
        return session

    notary = Notary(
        lambda lines: sign_statement(OURS, lines), is_signed_by, frozenset({OURS.ss58_address}), time.time
    )
    return {
        "open_session": open_session,
        "claims": claims,
        "holder": "us",
        "notary": notary,
        "own_hotkey": OURS.ss58_address,
        "policy": LOCALNET,
    }


def subject(place, count=None):
    """The machine, or its first cards."""
    folder, machine, _ = place
    listed = cast(MACHINE)
    vram_mib = find(listed.model).skus[0].nominal_mib
    cards = tuple(
        Card(index, uuid, listed.model, vram_mib, "580.1", *[None] * 8)
        for index, uuid in enumerate(listed.card_uuids)
    )
    return Subject(announced(folder, machine), cards[:count], 51, 350, "0x" + "ab" * 32, 1)


@pytest.mark.parametrize("kind", ProofKind)
def test_some_cards_of_a_machine_are_proved_for_their_lease(place, around, claims, kind):
    """Its other cards are left alone; what is kept is judged again to the same, and an epoch knows of it meanwhile."""
    seen = []

    def open_session(deadline):
        seen.append(own_proof(f"{HOTKEY}/{MACHINE}") in claims.held(datetime.now(UTC)))
        return around["open_session"](deadline)

    verdict = prove_cards(
        subject(place, 1),
        Surroundings(**around | {"open_session": open_session}),
        kind,
        deadline=time.monotonic() + PATIENCE_S,
    )
    kept = certificate_of(rental(), "hand-over", verdict, NOON)

    assert (verdict.code, [c.card_uuid for c in verdict.cards]) == (
        "PROVED",
        list(cast(MACHINE).card_uuids[:1]),
    )
    assert seen == [True]
    assert (kept.code, kept.card_uuids) == ("PROVED", cast(MACHINE).card_uuids[:1])
    assert verify_transcript(kept.transcript).code == "PROVED"


def test_cards_that_are_held_are_waited_for(place, around):
    """An epoch of ours has them: tried again after a pause, with nothing said against the machine."""
    _, _, locks = place
    said = Statement(51, HOTKEY, MACHINE, OURS.ss58_address, 350, int(time.time()), "ab" * 32)
    held = CardLocks(str(locks)).hold(cast(MACHINE).card_uuids, sign_statement(OURS, said.lines))
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        held.__exit__(None, None, None)

    held.__enter__()
    verdict = prove_cards(
        subject(place),
        Surroundings(**around, sleep=sleep),
        ProofKind.LEASED,
        deadline=time.monotonic() + PATIENCE_S,
    )

    assert (verdict.code, len(pauses)) == ("PROVED", 1)


def test_cards_that_stay_held_say_nothing_about_the_machine(place, around):
    """At the deadline the verdict is that they were busy."""
    deadline = time.monotonic() + PATIENCE_S
    _, _, locks = place
    said = Statement(51, HOTKEY, MACHINE, OURS.ss58_address, 350, int(time.time()), "ab" * 32)

    with CardLocks(str(locks)).hold(cast(MACHINE).card_uuids, sign_statement(OURS, said.lines)):
        verdict = prove_cards(
            subject(place),
            Surroundings(**around, clock=lambda: deadline),
            ProofKind.LEASED,
            deadline=deadline,
        )

    assert is_busy(verdict)


def test_a_machine_that_is_away_gives_no_verdict(place, around):
    """It is told as in an epoch, and nothing is raised."""

    def away(_deadline):
        raise HostAway("connect", "refused")

    verdict = prove_cards(
        subject(place),
        Surroundings(**around | {"open_session": away}),
        ProofKind.FULL,
        deadline=time.monotonic() + 5.0,
    )

    assert (verdict.code, verdict.severity) == ("PROVER_LOST", Severity.NO_VERDICT)


class Way:
    """The way to the machine; how often it was gone, and a gate that is shut at times."""

    def __init__(self, place, around):
        self.executor, self.opened, self.is_shut = subject(place).executor, 0, False
        self._around = around

    def open(self, deadline):
        self.opened += 1
        if self.is_shut:
            raise HostAway("connect", "refused")
        return self._around["open_session"](deadline)


@pytest.fixture
def way(place, around):
    return Way(place, around)


@pytest.fixture
def site(way, around):
    """The machine, as leases work on it."""
    site = SshSite(way, lambda open_session: Surroundings(**around | {"open_session": open_session}))
    yield site
    site.close()


def test_an_expected_proof_finds_its_prover_waiting(place, site, way):
    """It was started while something else went on: the proof itself opens no session. The next one does, as ever."""
    site.expect_proof(ProofKind.LEASED, time.monotonic() + PATIENCE_S)
    while not way.opened:
        time.sleep(0.01)
    way.is_shut = True
    waited_for = site.prove(subject(place, 1), ProofKind.LEASED, time.monotonic() + PATIENCE_S)
    way.is_shut = False
    after = site.prove(subject(place, 1), ProofKind.LEASED, time.monotonic() + PATIENCE_S)

    assert (waited_for.code, after.code, way.opened) == ("PROVED", "PROVED", 2)


def test_opening_a_session_asks_nothing_of_the_others():
    """Another thread may be in the midst of a talk on one of them: whoever looks at it would take that talk's answer."""

    class Talking:
        is_closed = False

        @property
        def is_alive(self):
            raise AssertionError("asked in the midst of a talk")

        def close(self):
            self.is_closed = True

    sessions = [Talking(), Talking()]
    opened = iter(sessions)
    site = SshSite(SimpleNamespace(open=lambda _deadline: next(opened)), lambda open_session: open_session)
    site._open(0.0)
    site._open(0.0)
    site.close()

    assert [session.is_closed for session in sessions] == [True, True]


def test_a_prover_that_did_not_come_up_is_started_again_by_its_proof(place, site, way):
    """What went wrong ahead of time is no verdict."""
    way.is_shut = True
    site.expect_proof(ProofKind.LEASED, time.monotonic() + PATIENCE_S)
    while not way.opened:
        time.sleep(0.01)
    way.is_shut = False

    assert site.prove(subject(place, 1), ProofKind.LEASED, time.monotonic() + PATIENCE_S).code == "PROVED"


def test_another_proof_than_the_expected_one_has_a_prover_of_its_own(place, site, way):
    """A full proof is not had by a prover that waits for a light one; that one goes on waiting, and isn't started twice."""
    site.expect_proof(ProofKind.LEASED, time.monotonic() + PATIENCE_S)
    full = site.prove(subject(place, 1), ProofKind.FULL, time.monotonic() + PATIENCE_S)
    site.expect_proof(ProofKind.LEASED, time.monotonic() + PATIENCE_S)
    light = site.prove(subject(place, 1), ProofKind.LEASED, time.monotonic() + PATIENCE_S)

    assert (full.code, light.code, way.opened) == ("PROVED", "PROVED", 2)
