"""The verbs of `subnet rent`, against the real app."""

import base64
import json
import threading
from dataclasses import replace

import pytest

from storage.rental import CardUse, RentalState
from storage.renter import Scope
from tasks.errors import HostAway
from tests.deployments.marketplace.world import OTHER_KEY, printed
from tests.deployments.rent.rig import HOST_KEY, Terminal
from tests.tasks.renting.leases import USD, offer


@pytest.fixture
def lease(terminal):
    """One that is active: its name."""
    return terminal.up("--image", "ubuntu:24.04", "--volume", "data:/data")["lease_id"]


# --- who ------------------------------------------------------------------------------------------


def test_a_login_is_tried_before_it_is_kept(terminal):
    """A key that opens nothing leaves what was kept before; the key itself is shown nowhere."""

    wrong = terminal.rent("login", stdin="sn_0123456789abcdef_" + "x" * 43)
    told = terminal.rent("whoami")

    assert wrong.code == 3
    assert (told.code, "alice" in told.out) == (0, True)
    assert terminal.token.split("_", 2)[2] not in told.out + told.err + wrong.error


def test_a_logout_forgets_the_key(terminal):
    """Afterwards the mend is to log in."""

    assert terminal.rent("logout").code == 0
    told = terminal.rent("ps")

    assert told.code == 3
    assert "subnet rent login" in told.error


def test_a_stopped_renter_is_told_why(terminal):
    """By its name with the market, and when it asks for more."""

    now = terminal.world.clock.at
    terminal.world.stores.renters.stop("alice", now, "mines coins", now)

    assert "mines coins" in terminal.rent("whoami").out
    refused = terminal.rent("up", "--yes")
    assert (refused.code, "RENTER_STOPPED" in refused.error) == (3, True)


# --- machines ---------------------------------------------------------------------------------------


def test_machines_are_listed_with_a_star_at_the_best_value(terminal):
    """The most proved performance for a dollar has it; filters are the market's."""

    terminal.world.machines[:] = [
        offer("5A/cheap", performance=0.5, micro_usd_per_card_hour=USD // 4),
        offer("5B/best", performance=1.0, micro_usd_per_card_hour=USD // 4),
        offer("5C/dear", performance=1.1, micro_usd_per_card_hour=USD, region="EU"),
    ]
    rows = [line.split() for line in terminal.rent("ls").out.splitlines()]

    assert [row[1] for row in rows if row and row[0] == "*" and "/" in row[1]] == ["5B/best"]
    assert [o["executor_key"] for o in terminal.rent("ls", "--region", "EU", "--json").json["items"]] == [
        "5C/dear"
    ]
    assert "5A/cheap" not in terminal.rent("ls", "--spec", "L4 perf>=0.9").out
    assert [
        o["executor_key"]
        for o in terminal.rent("ls", "--max-price", "0.3", "--sort", "price", "--json").json["items"]
    ] == ["5A/cheap", "5B/best"]
    assert terminal.rent("ls", "--model", "H100").out.startswith("no machine fits")


def test_what_machines_say_moves_no_cursor(terminal):
    """A region is foreign text: in a table its dots stand for it, in JSON it is escaped."""

    terminal.world.machines[:] = [offer("5A/a", region="\x1b[2J\x9b31m")]

    for words in (["ls"], ["ls", "--json"]):
        assert not set("\x1b\x9b") & set(terminal.rent(*words).out)


# --- leases -----------------------------------------------------------------------------------------


def test_leases_are_listed_with_what_they_cost_so_far(terminal, lease):
    """To the second; ended ones only when they are asked for."""

    terminal.world.clock.passes(1800)
    row = terminal.rent("ps").flat

    assert lease.removeprefix("lease-")[:8] in row
    assert "0.50" in row
    terminal.rent("rm", lease, "--yes")
    assert terminal.rent("ps").out.startswith("no leases")
    assert [one["state"] for one in terminal.rent("ps", "--all", "--json").json["items"]] == ["ended"]


def test_a_lease_is_meant_by_the_beginning_of_its_name(terminal, lease):
    """If it is the only one; else more of the name is asked for, and a name of nobody's is told."""

    other = terminal.up()["lease_id"]
    common = next(n for n in range(len(lease)) if lease[n] != other[n])

    bare = lease.removeprefix("lease-")

    assert terminal.rent("show", lease[: common + 1], "--json").json["lease_id"] == lease
    assert terminal.rent("show", bare[:10], "--json").json["lease_id"] == lease
    if common:
        assert terminal.rent("show", lease[:common]).code == 2
    assert terminal.rent("show", "zzz").code == 2
    assert terminal.rent("show", "--", "-oProxyCommand=x").code == 2


def test_a_lease_is_shown_with_its_ways_in(terminal, lease):
    """State, machine, price, and the line for ssh."""

    told = terminal.rent("show", lease).out

    assert "state    active" in told
    assert "ssh -p 30022 root@203.0.113.7" in told


def test_events_are_told_in_their_order(terminal, lease):
    """From the request on; a feed that is followed ends with the lease."""

    kinds = [event["kind"] for event in terminal.rent("events", lease, "--json").json["items"]]
    terminal.rent("rm", lease, "--yes")
    followed = terminal.rent("events", lease, "--follow", "--json")

    assert [kind for kind in kinds if kind != "STEP"] == ["REQUESTED", "RESERVED", "PROVISIONING", "ACTIVE"]
    assert [json.loads(line)["kind"] for line in followed.out.splitlines()][-1] == "ENDED"
    assert "lease is over" in followed.err


def test_ending_is_idempotent_and_asks_first(terminal, lease):
    """Without a terminal `--yes` is needed; of an ended lease it is no mistake; `--all` is all that stand."""

    other = terminal.up()["lease_id"]

    assert terminal.rent("rm", lease).code == 2
    told = terminal.rent("rm", lease, other, "--yes")
    assert (told.code, told.out.count("ended")) == (0, 2)
    assert terminal.rent("rm", lease).code == 0
    assert (terminal.rent("rm", "--all", "--yes").out, terminal.rent("rm", "--yes").code) == (
        "no leases\n",
        2,
    )
    assert terminal.rent("rm", "--all", lease, "--yes").code == 2


def test_an_end_that_is_only_asked_for_is_shown_as_one(terminal, lease):
    """Detached, a lease is `ending` from the very request on: nothing is paid any more."""

    told = terminal.rent("rm", lease, "--yes", "--detach")

    assert (told.code, f"{lease}: ending" in told.out) == (0, True)
    assert "ending" in terminal.rent("ps").out


# --- reach ------------------------------------------------------------------------------------------


def test_ssh_becomes_the_systems_own_with_the_host_key_pinned(terminal, lease):
    """One vector, with the lease's key in a file of ours; a command's words stand last."""

    (terminal.home / ".ssh" / "id_ed25519").write_text("private")
    told = terminal.rent("ssh", lease[:8], "--", "nvidia-smi", "-L")
    (argv,) = terminal.launched

    assert told.code == 7
    assert (argv[0], argv[argv.index("--") :]) == ("ssh", ("--", "203.0.113.7", "nvidia-smi", "-L"))
    hosts = terminal.home / ".config" / "subnet" / "known_hosts" / lease
    assert hosts.read_text() == f"subnet-{lease} {HOST_KEY}\n"
    assert any(str(hosts) in word for word in argv)
    assert argv[argv.index("-i") + 1] == str(terminal.home / ".ssh" / "id_ed25519")


def test_copies_start_the_systems_own_too(terminal, lease):
    """And end with its exit code; `--json` shows the vector instead."""

    sent = terminal.rent("scp", "-r", "a", f"{lease[:8]}:/root/")
    shown = terminal.rent("rsync", "src/", f"{lease[:8]}:/src", "--json")

    assert (sent.code, len(terminal.launched)) == (7, 1)
    assert terminal.launched[0][-2:] == ("./a", "root@203.0.113.7:/root/")
    assert shown.json["argv"][0] == "rsync"


@pytest.mark.parametrize("verb", ["ssh", "scp", "rsync"])
def test_a_lease_that_stands_still_is_not_reached(terminal, lease, verb):
    """That is told before any program starts."""

    terminal.rent("stop", lease)
    told = terminal.rent(verb, *([lease] if verb == "ssh" else ["a", f"{lease}:/"]))

    assert (told.code, terminal.launched) == (2, [])
    assert "which is stopped" in told.error


def test_exec_is_the_command_as_it_is(terminal, lease):
    """Words, standard input and exit code go through; bytes come back as they were."""

    terminal.world.console.answers = [printed(b"\xff out", b"err", 9)]
    told = terminal.rent("exec", lease, "--stdin", "--", "sh", "-c", "cat; $(id) 'a b'", stdin="hello")
    _, argv, stdin, _timeout = terminal.world.console.asked[-1]

    assert told.code == 9
    assert (argv, stdin) == (("sh", "-c", "cat; $(id) 'a b'"), b"hello")
    assert (told.out.encode("utf-8", "surrogateescape")[-3:], told.err) == (b"out", "err")


def test_exec_for_programs_is_one_document(terminal, lease):
    """Base64, as the market has it; the exit code is the command's all the same."""

    terminal.world.console.answers = [printed(b"out")]
    told = terminal.rent("exec", lease, "--json", "--", "true")

    assert base64.b64decode(told.json["stdout"]) == b"out"


def test_exec_is_never_run_twice(terminal, lease):
    """When its answer is lost, that is told."""

    terminal.world.console.answers = [printed(b"out"), printed(b"again")]
    terminal.bridge.lost.append("POST")
    told = terminal.rent("exec", lease, "--", "reboot")

    assert (told.code, len(terminal.world.console.answers)) == (1, 1)
    assert "does not answer" in told.error


def test_a_machine_that_is_away_is_told(terminal, lease):
    """By the market's own words, after a few tries where that is harmless."""

    terminal.world.console.answers = [HostAway("connect", "no route to host")] * 10
    told = terminal.rent("exec", lease, "--", "true")

    assert told.code == 1
    assert "no route to host" in told.error


# --- watch ------------------------------------------------------------------------------------------


def test_logs_are_passed_on(terminal, lease):
    """As they were printed into a pipe; for programs one document."""

    terminal.world.console.answers = [printed(b"2026-08-01T12:00:00.000000000Z one\x1b[0m\n")] * 2

    assert terminal.rent("logs", lease, "--tail", "5").out == "one\x1b[0m\n"
    assert terminal.rent("logs", lease, "--json").json["text"] == "one\x1b[0m\n"


def test_metrics_are_a_line_a_sample(terminal, lease):
    """Every card's use, sums of memory, and a dash for what the machine did not say; a feed ends with the lease."""

    from storage.health import Metric

    cards = (CardUse("GPU-1", 97.4, 2048, 81_920, 61, 300.4), CardUse("GPU-2", 3.0, 1024))
    at = terminal.world.clock.at
    terminal.world.stores.health.save([], [Metric(lease, at, cards, 250.0, 3 << 30)])
    row = terminal.rent("metrics", lease).out.splitlines()[-2].split()
    terminal.rent("rm", lease, "--yes")
    followed = terminal.rent("metrics", lease, "--follow", "--json")

    assert row == [f"{at:%H:%M:%S}", "97%", "3%", "3.0", "61", "300", "250", "3.00", *"----"]
    assert (followed.code, "lease is over" in followed.err) == (0, True)


def test_logs_are_followed_until_the_machine_is_away(terminal, lease):
    """Line by line as it comes; why it is the end is told, and is no success."""

    line = printed(b"2026-08-01T12:00:00.000000000Z one\n")
    terminal.world.console.answers = [line, HostAway("connect", "no route to host")] * 2
    told = terminal.rent("logs", lease, "--follow")
    for_programs = terminal.rent("logs", lease, "-f", "--json")

    assert (told.code, told.out) == (1, "one\n")
    assert "no route to host" in told.error
    assert json.loads(for_programs.out)["text"] == "one\n"


def test_events_come_over_a_real_connection_as_they_happen(terminal, served):
    """While the lease is being made ready by somebody else, and until it has ended."""

    lease = terminal.rent("up", "--yes", "--detach", "--json").json["lease_id"]
    served.rent("rm", lease, "--yes")
    worker = threading.Timer(1.0, terminal.hand.work)
    worker.start()
    told = served.rent("events", lease, "--follow", "--json")
    worker.join(20)

    assert told.code == 0, told
    assert [json.loads(line)["kind"] for line in told.out.splitlines()][-1] == "ENDED"


def test_metrics_of_a_lease_that_was_not_measured_are_none(terminal, lease):
    """That is said, too."""

    assert terminal.rent("metrics", lease).out == "nothing was measured yet\n"


# --- operations -------------------------------------------------------------------------------------


def test_a_lease_is_stopped_and_started(terminal, lease):
    """Waited for until it is done; where it stands there already, nothing is asked."""

    assert terminal.rent("stop", lease).out == f"{lease}: stop done\n"
    assert terminal.rent("stop", lease).out == f"{lease} is stopped already\n"
    assert terminal.rent("start", lease, "--json").json["state"] == "done"
    assert terminal.rent("start", lease).out == f"{lease} is active already\n"
    assert terminal.rent("reboot", lease, "--detach", "--json").json["state"] == "asked"


def test_an_operation_that_failed_is_told_with_its_party(terminal, lease):
    """Exit code 1, and the machine's words move no cursor."""

    terminal.rent("backup", lease, "--volume", "data")
    told = terminal.rent("restore", lease, "b-1", "--yes")

    assert told.code == 1
    assert "(machine): restore: no" in told.error
    assert "\x1b" not in told.error


def test_another_image_is_put_in_its_place_when_that_is_wanted(terminal, lease):
    """Asked first, for what is in no volume is lost; nothing given is a mistake."""

    assert terminal.rent("replace", lease, "--image", "ubuntu:22.04").code == 2
    assert terminal.rent("replace", lease, "--yes").code == 2
    assert terminal.rent("replace", lease, "--image", "ubuntu:22.04", "--yes").code == 0


def test_limits_are_changed_while_it_runs(terminal, lease):
    """TTL, extension, end, cap and idleness; `off` takes them away."""

    def changed(*words):
        told = terminal.rent(*words, "--json")
        assert told.code == 0, told
        return told.json

    assert changed("ttl", lease, "4h")["terms"]["ttl_s"] == 14_400
    assert changed("ttl", lease, "+30m")["terms"]["ttl_s"] == 16_200
    assert changed("ttl", lease, "off", "--until", "18:30")["ends_by"] == "2026-08-01T18:30:00Z"
    assert changed("ttl", lease, "+1h")["ends_by"] == "2026-08-01T19:30:00Z"
    assert changed("ttl", lease, "--until", "off")["ends_by"] is None
    assert changed("cap", lease, "20")["terms"]["cap_micro_usd"] == 20 * USD
    assert changed("cap", lease, "off")["terms"]["cap_micro_usd"] == 0
    assert changed("idle", lease, "5%/30m")["terms"]["idle_for_s"] == 1800
    assert changed("idle", lease, "off")["terms"]["idle_for_s"] == 0


def test_a_limit_that_can_not_be_is_refused(terminal, lease):
    """Nothing to extend, less than it has cost, nothing given."""

    terminal.world.clock.passes(7200)

    assert terminal.rent("ttl", lease, "+1h").code == 2
    assert terminal.rent("cap", lease, "1").code == 2
    assert terminal.rent("ttl", lease).code == 2


# --- what is kept -----------------------------------------------------------------------------------


def test_volumes_outlive_their_lease(terminal, lease):
    """Listed, made, wiped; one that a lease has stays; one that is not there is no mistake."""

    assert "data" in terminal.rent("volumes", "ls").out
    assert terminal.rent("volumes", "add", "more").code == 0
    assert [v["name"] for v in terminal.rent("volumes", "ls", "--json").json["items"]] == ["data", "more"]
    assert terminal.rent("volumes", "rm", "more").code == 2
    assert terminal.rent("volumes", "rm", "more", "--yes").code == 0
    assert terminal.rent("volumes", "rm", "nothing", "--yes", "--json").json == {
        "name": "nothing",
        "was_there": False,
    }
    assert terminal.rent("volumes", "add", "--", "-x").code == 2


def test_a_backup_comes_back_byte_for_byte(terminal, lease, tmp_path):
    """Its digest is compared; what does not fit is not kept, and a file that is there is not written over."""

    out = tmp_path / "out.tar"
    assert terminal.rent("backup", lease, "--volume", "data").out == "backup b-1: done\n"
    assert "volume:data" in terminal.rent("backups", "ls").out
    assert terminal.rent("backups", "get", "b-1", "--out", out).code == 0
    assert out.read_bytes() == b"tar " * 100
    assert terminal.rent("backups", "get", "b-1", "--out", out).code == 2
    (tmp_path / "backups" / "b-1.tar").write_bytes(b"rat " * 100)
    bad = terminal.rent("backups", "get", "b-1", "--out", tmp_path / "bad.tar")
    assert (bad.code, (tmp_path / "bad.tar").exists()) == (1, False)
    assert [p.name for p in tmp_path.glob(".*.part")] == []
    assert terminal.rent("backups", "rm", "b-1", "--yes", "--json").json["was_there"]
    assert not terminal.rent("backups", "rm", "b-1", "--yes", "--json").json["was_there"]
    assert terminal.rent("backup", lease).code == 2
    assert terminal.rent("backup", lease, "--path", "root").code == 2


def test_templates_are_kept_and_used(terminal, tmp_path):
    """Values of their environment come back nowhere; the market's own are listed beside them."""

    (tmp_path / "env").write_text("TOKEN=secret\n")
    made = terminal.rent(
        "templates",
        "add",
        "train",
        "--image",
        "me/train:3",
        "--env-file",
        tmp_path / "env",
        "--port",
        "6006",
        "--json",
    )
    again = terminal.rent("templates", "add", "train", "--image", "me/train:4")
    replaced = terminal.rent("templates", "add", "train", "--image", "me/train:4", "--replace")
    listed = terminal.rent("templates", "ls")

    assert made.json["pod"]["environment"] == ["TOKEN"]
    assert (again.code, replaced.code) == (2, 0)
    assert "me/train:4" in listed.out
    assert "pytorch" in listed.out
    assert "secret" not in listed.out + made.out
    assert terminal.up("--template", "train")["pod"]["image"] == "me/train:4"
    assert terminal.rent("templates", "rm", "train", "--json").json["was_there"]


def test_ssh_keys_are_kept_and_granted(terminal, lease, tmp_path):
    """For new leases by name, for one that runs by its file and its fingerprint."""

    (tmp_path / "other.pub").write_text(OTHER_KEY + "\n")
    added = terminal.rent("keys", "add", "laptop", "--json").json

    assert added["fingerprint"].startswith("SHA256:")
    assert "laptop" in terminal.rent("keys", "ls").out
    assert terminal.rent("keys", "add", "laptop", tmp_path / "other.pub").code == 2
    assert terminal.rent("keys", "grant", lease, tmp_path / "other.pub").code == 0
    assert terminal.rent("keys", "revoke", lease, "SHA256:x").code == 2
    assert terminal.rent("keys", "revoke", lease, added["fingerprint"]).code == 0
    assert terminal.rent("keys", "rm", "laptop", "--json").json["was_there"]


def test_api_keys_are_shown_once(terminal):
    """Alone on standard output, so that they can go into a file; a list has no secret; a revoked one opens nothing."""

    made = terminal.rent("api-keys", "add", "ci", "--scope", "read", "--expires", "30d")
    token = made.out.strip()
    key_id = token.split("_")[1]
    rotated = terminal.rent("api-keys", "rotate", key_id, "--overlap", "10m").out.strip()
    listed = terminal.rent("api-keys", "ls")

    assert token.startswith("sn_")
    assert "shown this once" in made.err
    assert token.split("_", 2)[2] not in listed.out
    assert rotated != token
    assert terminal.rent("api-keys", "revoke", rotated.split("_")[1], "--yes").code == 0
    assert Terminal(terminal.world, terminal.home, rotated).rent("login", stdin=rotated).code == 3


def test_a_key_that_may_not_is_told_apart(terminal):
    """A key for reading rents nothing: exit code 3."""

    reader = Terminal(terminal.world, terminal.home / "r", terminal.world.key("alice", Scope.READ)).login()

    assert reader.rent("ps").code == 0
    own = terminal.home / ".ssh" / "id_ed25519.pub"
    assert reader.rent("up", "--yes", "--image", "ubuntu:24.04", "--key", own).code == 3
    assert reader.rent("api-keys", "ls").code == 3


@pytest.mark.parametrize(
    "words",
    [("api-keys", "add", "ci", "--scope", "read"), ("webhooks", "add", "https://hooks.example.com/x")],
)
def test_what_is_shown_once_is_not_made_twice(terminal, words):
    """Its answer is lost on the way: that is told, and there is one of it to be removed, not two."""

    before = len(terminal.rent(words[0], "ls", "--json").json["items"])
    terminal.bridge.lost.append("POST")
    told = terminal.rent(*words)

    assert told.code == 1
    assert len(terminal.rent(words[0], "ls", "--json").json["items"]) == before + 1


def test_webhooks_are_added_and_removed(terminal):
    """The secret stands alone on standard output, this once."""

    made = terminal.rent("webhooks", "add", "https://hooks.example.com/x", "--event", "ACTIVE", "--json").json
    listed = terminal.rent("webhooks", "ls")

    assert made["secret"] not in listed.out
    assert "https://hooks.example.com/x" in listed.out
    assert terminal.rent("webhooks", "deliveries", made["webhook_id"]).out == "nothing was sent yet\n"
    assert terminal.rent("webhooks", "rotate", made["webhook_id"]).out.strip() != made["secret"]
    assert terminal.rent("webhooks", "enable", made["webhook_id"]).code == 0
    assert [
        terminal.rent("webhooks", "rm", made["webhook_id"], "--json").json["was_there"] for _ in range(2)
    ] == [True, False]


# --- money ------------------------------------------------------------------------------------------


def test_the_balance_counts_what_runs(terminal, lease):
    """To the second, with how long it lasts."""

    terminal.world.clock.passes(3600)
    told = terminal.rent("balance")

    assert told.out.startswith("99.00 USD")
    assert "1.00 USD/h are being used; it lasts 4d" in told.out


def test_a_bill_has_what_is_not_charged_yet(terminal, lease):
    """Line by line, and the rest."""

    terminal.world.clock.passes(1800)

    assert "0.00 USD charged, 0.5" in terminal.rent("bill", lease).out
    assert terminal.rent("bill", lease, "--json").json["lease_id"] == lease


def test_invoices_are_months(terminal):
    """With what was put in and what was paid; a month is named as such."""

    assert "2026-08" in terminal.rent("invoices").out
    assert (
        terminal.rent("invoices", "--month", "2026-08", "--json").json["items"][0]["deposited_micro_usd"]
        == 100 * USD
    )
    assert terminal.rent("invoices", "--month", "August").code == 2


def test_how_to_pay_in_is_told(terminal):
    """Also that it can't be done."""

    assert "takes no deposits" in terminal.rent("deposit").out


# --- proof ------------------------------------------------------------------------------------------


def test_a_certificate_is_kept_and_judged_without_the_market(terminal, lease, tmp_path):
    """What holds no proof is said not to hold, by the exit code too; nothing is asked of anybody."""

    out = tmp_path / "cards.json"
    told = terminal.rent("certificate", "get", lease, "--out", out)
    before = len(terminal.bridge.asked)
    judged = terminal.rent("certificate", "verify", out)

    assert (told.code, "hand-over" in told.out) == (0, True)
    assert judged.code == 1
    assert "DOES NOT HOLD" in judged.out
    assert len(terminal.bridge.asked) == before


def test_an_honest_certificate_holds_at_the_command_line(terminal, lease, tmp_path):
    """Its cards with what each proved."""

    from hashlib import blake2s

    from tests.tasks.proof.archives import archived, some_talks

    verdict = archived(some_talks()).verdicts[0]
    proof = {
        "attempt": 1,
        "occasion": "hand-over",
        "at": "2026-08-01T12:00:00Z",
        "executor_key": verdict.executor_key,
        "code": verdict.code,
        "card_uuids": [card.card_uuid for card in verdict.cards],
        "transcript": base64.b64encode(verdict.transcript).decode(),
        "transcript_blake2s": blake2s(verdict.transcript).hexdigest(),
    }
    (tmp_path / "c.json").write_text(json.dumps({"lease_id": lease, "proofs": [proof]}))
    told = terminal.rent("certificate", "verify", tmp_path / "c.json")

    assert (told.code, told.out.count("MiB proved")) == (0, len(verdict.cards))
    (tmp_path / "empty.json").write_text("{}")
    assert terminal.rent("certificate", "verify", tmp_path / "empty.json").code == 2


# --- the market is away -----------------------------------------------------------------------------


def test_a_lease_that_waits_says_what_for(terminal):
    """With nobody to do it, it is queued, and that is told."""

    terminal.hand.is_idle = True
    terminal.world.starter.orchestrator = "away"
    lease = terminal.rent("up", "--yes", "--detach", "--json").json

    assert lease["queued"]
    assert "(queued)" in terminal.rent("ps").flat
    assert terminal.world.stores.rentals.get(lease["lease_id"]).state is RentalState.REQUESTED


def test_a_wrong_address_is_told(terminal, monkeypatch):
    """What answers there is no market."""

    import httpx

    desk = terminal.desk
    monkeypatch.setattr(
        terminal,
        "desk",
        lambda: replace(desk(), transport=httpx.MockTransport(lambda _r: httpx.Response(200, text="<html>"))),
    )
    told = terminal.rent("ps")

    assert told.code == 1
    assert "is this the market's address?" in told.error
