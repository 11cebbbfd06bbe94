"""`subnet rent up`, from the wish to the way in."""

import json

import pytest

from storage.rental import RentalState
from tests.tasks.renting.leases import USD, offer


def leases(terminal):
    """All leases of the market."""
    return terminal.world.stores.rentals.of_renter("alice")


def test_a_lease_is_followed_until_it_is_ready(terminal):
    """A line for each step with its time, and at the end the ways in; the price that was agreed is the ceiling."""

    told = terminal.rent("up", "--spec", "L4 price<=2", "--ttl", "2h", "--yes")
    (lease,) = leases(terminal)

    assert told.code == 0, told
    assert lease.state is RentalState.ACTIVE
    assert [line.split()[:2] for line in told.err.splitlines() if line.startswith("  ")] == [
        [name, "1.2"] for name in ("prove", "pull", "create", "probe")
    ]
    assert "ready after" in told.err
    assert told.out.splitlines()[-2:] == [
        f"subnet rent ssh {lease.lease_id.removeprefix('lease-')[:8]}",
        "ssh -p 30022 root@203.0.113.7",
    ]
    assert (lease.wish.max_micro_usd_per_hour, lease.terms.ttl_s) == (2 * USD, 7200)


def test_a_request_that_is_repeated_rents_once(terminal):
    """The answer is lost on the way, the request is sent again under its name: one lease."""

    terminal.bridge.lost.append("POST")
    told = terminal.rent("up", "--yes")

    assert told.code == 0, told
    assert len(leases(terminal)) == 1


def test_a_command_that_is_typed_again_with_its_name_is_the_same_lease(terminal):
    """So that a script can repeat the whole of it."""

    first, again = (terminal.rent("up", "--yes", "--json", "--request-id", "night-1") for _ in range(2))

    assert first.json["lease_id"] == again.json["lease_id"]
    assert len(leases(terminal)) == 1


def test_without_a_word_on_the_price_nothing_is_rented(still):
    """Where nobody can be asked, `--yes` is asked for."""

    told = still.rent("up")

    assert told.code == 2
    assert "--yes" in told.error
    assert leases(still) == ()


def test_a_machine_that_fails_is_followed_by_the_next(terminal):
    """That is told, and the ceiling of the price holds for the next one, too."""

    terminal.hand.broken = {"5Miner/m-000"}
    told = terminal.rent("up", "--yes")

    assert told.code == 0, told
    assert "5Miner/m-000 could not be made ready" in told.err
    assert leases(terminal)[0].executor_key == "5Miner/m-001"


def test_when_all_fail_the_reason_and_the_party_are_told(terminal):
    """Exit code 5, and nothing was charged."""

    terminal.hand.broken = {one.executor_key for one in terminal.world.machines}
    told = terminal.rent("up", "--yes")

    assert told.code == 5
    assert "no machine is left" in told.error
    assert "(machine)" in told.error
    assert "nothing was charged" in told.error
    assert terminal.rent("balance", "--json").json["micro_usd"] == 100 * USD


def test_ctrl_c_leaves_the_lease_and_says_how_to_go_on(terminal):
    """The market goes on without the terminal."""

    def interrupt(_seconds):
        raise KeyboardInterrupt

    terminal.hand.wait = interrupt
    told = terminal.rent("up", "--yes")
    (lease,) = leases(terminal)

    assert told.code == 130
    assert f"subnet rent rm {lease.lease_id.removeprefix('lease-')[:8]}" in told.err
    assert lease.end_asked_at is None


def test_detached_it_is_not_waited_for(terminal):
    """The lease is answered as it stands."""

    told = terminal.rent("up", "--yes", "--detach")

    assert told.code == 0
    assert "requested" in told.out
    assert leases(terminal)[0].state is RentalState.REQUESTED


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--model", "H100"], "no machine has the model H100; there are L4"),
        (["--count", "3"], "none of the 3 machines fits"),
        (["--spec", "L4 price<=0.1"], "none of the 3 machines fits"),
        (["5Miner/m-999"], "none of the 3 machines fits"),
    ],
)
def test_what_nobody_offers_is_not_asked_for(still, words, reason):
    """Exit code 5, with what stands in the way; no lease was made."""

    told = still.rent("up", "--yes", *words)

    assert (told.code, leases(still)) == (5, ())
    assert reason in told.error


def test_names_may_be_typed_as_people_do(terminal):
    """A model without its maker, a machine by its own name."""

    terminal.world.machines[:] = [offer("5Rich/a", model="NVIDIA RTX 4090"), offer("5Miner/b", model="L4")]

    assert terminal.up("--model", "rtx-4090")["executor_key"] == "5Rich/a"
    assert terminal.up("b")["wish"]["executor_key"] == "5Miner/b"


def test_a_model_that_may_be_several_is_asked_back(terminal):
    """With the names that there are."""

    terminal.world.machines[:] = [offer("5A/a", model="H100 PCIe"), offer("5B/b", model="H100 SXM5")]
    told = terminal.rent("up", "--yes", "--model", "H100")

    assert told.code == 2
    assert "H100 PCIe, H100 SXM5" in told.error


def test_a_pod_is_made_of_the_options(terminal, tmp_path):
    """Image, words without a shell, ports, volumes, sizes; of the environment only names come back."""

    (tmp_path / "env").write_text("# mine\nHF_TOKEN=hf_secret\n\nHOME\n")
    told = terminal.up(
        "--image", "ubuntu:24.04", "--command", "sh -c 'sleep 9 $(id)'", "--env-file", tmp_path / "env", "--env", "MODE=train",
        "--port", "8888", "--port", "5353/udp", "--volume", "data:/data", "--shm", "2g", "--memory", "8g", "--cpus", "4",
        "--cap", "20", "--idle", "5%/30m", "--until", "18:30",
    )  # fmt: skip
    pod = told["pod"]

    assert (pod["image"], pod["words"]) == ("ubuntu:24.04", ["sh", "-c", "sleep 9 $(id)"])
    assert sorted(pod["environment"]) == ["HF_TOKEN", "HOME", "MODE"]
    assert {(p["inside"], p["protocol"]) for p in pod["ports"]} == {(8888, "tcp"), (5353, "udp")}
    assert (pod["mounts"][0]["volume"], pod["mounts"][0]["at"]) == ("data", "/data")
    assert (pod["shm_bytes"], pod["memory_bytes"], pod["cpus"]) == (2 << 30, 8 << 30, 4.0)
    assert told["terms"] == {
        "ttl_s": 0,
        "cap_micro_usd": 20 * USD,
        "idle_below_percent": 5.0,
        "idle_for_s": 1800,
    }
    assert told["ends_by"] == "2026-08-01T18:30:00Z"
    assert "hf_secret" not in json.dumps(told)


def test_a_secret_in_the_command_line_is_warned_of(terminal):
    """Its name is told, its value is not."""

    told = terminal.rent("up", "--yes", "--env", "HF_TOKEN=hf_secret", "--env", "MODE=train")

    assert "the value of HF_TOKEN stands in your command line" in told.err
    assert "hf_secret" not in told.err + told.out
    assert "MODE" not in told.err


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["--env", "1X=2"], "--env"),
        (["--env", "NOT_SET_HERE"], "--env"),
        (["--port", "0"], "--port"),
        (["--port", "8888/sctp"], "--port"),
        (["--volume", "Data:/x"], "--volume"),
        (["--volume", "data:x"], "--volume"),
        (["--volume", "data:/a,b"], "--volume"),
        (["--shm", "2"], "--shm"),
        (["--command", "sh -c 'x"], "--command"),
        (["--ttl", "2"], "--ttl"),
        (["--cap", "0"], "--cap"),
        (["--idle", "5"], "--idle"),
        (["--until", "yesterday"], "--until"),
        (["--mode", "spot"], "--bid"),
        (["--bid", "1"], "--bid"),
        (["--mode", "reserved"], "--hours"),
        (["--request-id", "a b"], "--request-id"),
        (["--registry-user", "me"], "--registry-user"),
        (["--spec", "L4 price<=1", "--max-price", "2"], "--spec"),
    ],
)
def test_a_mistake_is_told_before_anything_is_asked(still, words, key):
    """In one sentence that begins with the option's name; the market has heard nothing."""

    before = len(still.bridge.asked)
    told = still.rent("up", "--yes", *words)

    assert told.code == 2
    assert told.error.startswith(key)
    assert all(request.method == "GET" for request in still.bridge.asked[before:])


def test_keys_come_from_files_from_the_market_or_from_the_home(terminal, tmp_path):
    """Those given, else those that are kept, else this computer's own; a private key is refused and not shown."""

    from tests.deployments.marketplace.world import OTHER_KEY, SSH_KEY

    (tmp_path / "other.pub").write_text(OTHER_KEY + "\n")
    (tmp_path / "id").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n")
    own = terminal.rent("up", "--yes", "--json")
    given = terminal.up("--key", tmp_path / "other.pub")
    refused = terminal.rent("up", "--yes", "--key", tmp_path / "id")

    assert "id_ed25519.pub is let in" in own.err
    assert (own.json["pod"]["public_keys"], given["pod"]["public_keys"]) == ([SSH_KEY], [OTHER_KEY])
    assert (refused.code, "BEGIN" in refused.error) == (2, False)


def test_a_spot_lease_is_a_bid(terminal):
    """The mode and the bid are the wish's; the price of others is no ceiling for it."""

    wish = terminal.up("--mode", "spot", "--bid", "0.9")["wish"]

    assert (wish["mode"], wish["bid_micro_usd_per_hour"]) == ("spot", 900_000)


def test_a_balance_that_is_too_low_has_its_own_code(terminal, tmp_path):
    """So that a script can tell it; the mend is the market's."""

    from storage.renter import Renter
    from tests.deployments.rent.rig import Terminal

    terminal.world.stores.renters.add(Renter("carol", terminal.world.clock.at))
    carol = Terminal(terminal.world, terminal.home, terminal.world.key("carol")).login()
    told = carol.rent("up", "--yes")

    assert told.code == 4
    assert "BALANCE_TOO_LOW" in told.error
