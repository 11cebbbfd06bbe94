"""A renter's container as the engine's arguments: whatever text a renter sends, it is a value, and never an option."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tasks.errors import SpecRefused
from tasks.renting.containers import ContainerSpec, Form, Mount, Port, Program, check_spec, create, digest_of

SPEC = ContainerSpec("l-1", "r-1", "ubuntu:22.04", ("GPU-1", "GPU-2"))
DIGEST = "@sha256:" + "ab" * 32
NASTY = [
    "--privileged",
    "-v/:/host",
    "$(id)",
    "`id`",
    "; id",
    "'",
    '"',
    "a b",
    "é\u202e",
    "x" * 65_536,
    "\n--rm",
]


def test_a_container_is_made_of_one_vector():
    """Names, limits and cards as the engine wants them, the image after the end of options, then the words as they are."""
    spec = replace(
        SPEC,
        words=("sh", "-c", "sleep 1"),
        environment={"B": "2", "A": "one two"},
        ports=(Port(22, 40_001),),
        mounts=(Mount("data", "/data"),),
        memory_bytes=1 << 30,
        cpus=1.5,
        runtime="sysbox-runc",
        entrypoint="/init",
        attempt=3,
        executor_key="5Miner/one",
        publish_address="127.0.1.3",
    )
    made = create(spec)

    assert made.argv[:2] == ("docker", "create")
    assert made.argv[-5:] == ("--", "ubuntu:22.04", "sh", "-c", "sleep 1")
    for argument in (
        "--name=subnet-l-1-3",
        "--label=org.compute-subnet.lease=l-1",
        "--label=org.compute-subnet.attempt=3",
        "--label=org.compute-subnet.machine=5Miner/one",
        '--gpus="device=GPU-1,GPU-2"',
        "--memory=1073741824",
        "--cpus=1.5",
        "--runtime=sysbox-runc",
        "--publish=127.0.1.3:40001:22/tcp",
        "--mount=type=volume,source=subnet-r-1.data.5751bc4f,target=/data",
        "--entrypoint=/init",
    ):
        assert argument in made.argv
    assert made.stdin == b"A=one two\nB=2\n"


def test_podman_takes_cards_by_cdi():
    """Its command line is Docker's, but for the cards: a device each."""
    made = create(SPEC, Form("podman"))

    assert made.argv[0] == "podman"
    assert [a for a in made.argv if "GPU-" in a] == [
        "--device=nvidia.com/gpu=GPU-1",
        "--device=nvidia.com/gpu=GPU-2",
    ]


@pytest.mark.parametrize(
    ("entrypoint", "words", "program"),
    [
        ("", (), ("/start", "-x", "serve", "all")),
        ("", ("sh",), ("/start", "-x", "sh")),
        ("/mine", (), ("/mine",)),
        ("/mine", ("sh",), ("/mine", "sh")),
    ],
)
def test_with_a_toolbox_our_init_starts_the_program(entrypoint, words, program):
    """As engines put a program together: a renter's entrypoint drops the image's command, words replace it."""
    form = Form(toolbox="/home/me/box", own=Program(("/start", "-x"), ("serve", "all")))
    made = create(replace(SPEC, entrypoint=entrypoint, words=words), form)

    assert made.argv[made.argv.index("--") :] == ("--", "ubuntu:22.04", "sh", "/opt/subnet/init", *program)
    assert [a for a in made.argv if a.startswith(("--entrypoint", "--user", "--mount", "--init"))] == [
        "--mount=type=bind,source=/home/me/box,target=/opt/subnet,readonly",
        "--user=0:0",
        "--entrypoint=/opt/subnet/busybox",
    ]


def test_a_spec_survives_being_stored():
    """As JSON and back it is the same, and so is its digest; any other spec has another digest."""
    spec = replace(SPEC, environment={"A": "1"}, ports=(Port(22, 40_001),), mounts=(Mount("data", "/data"),))
    adapter = TypeAdapter(ContainerSpec)
    again = adapter.validate_json(adapter.dump_json(spec))

    assert again == spec
    assert digest_of(again) == digest_of(spec) != digest_of(replace(spec, attempt=2))


@pytest.mark.parametrize("word", NASTY)
def test_words_are_words(word):
    """What looks like an option, a substitution or a quote is one argument of the container's program, as it was sent."""
    made = create(replace(SPEC, words=(word,)))

    assert made.argv[made.argv.index("--") :] == ("--", "ubuntu:22.04", word)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), max_size=200))
@example("--privileged")
@example("$(touch /tmp/x)")
def test_no_text_becomes_an_option(text):
    """For any text as entrypoint, word and value: before the end of options nothing but our own options stands."""
    spec = replace(SPEC, entrypoint=text, words=(text,), environment={"SECRET": text})
    plain = create(SPEC).argv
    made = create(spec)
    options = made.argv[: made.argv.index("--", 2) if "--" in made.argv[2:] else None]

    assert [o.partition("=")[0] for o in options if not o.startswith("--entrypoint=")] == [
        o.partition("=")[0] for o in plain[: plain.index("--")]
    ]
    assert sum(o.startswith("--entrypoint=") for o in options) == bool(text)


def test_a_secret_is_in_no_argument():
    """Values of the environment are read by the engine from its standard input."""
    made = create(replace(SPEC, environment={"TOKEN": "hunter2"}))

    assert not any("hunter2" in argument for argument in made.argv)
    assert made.stdin == b"TOKEN=hunter2\n"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image": "--privileged"}, "image is '--privileged'"),
        ({"image": "UPPER/case"}, "image is"),
        ({"image": "ubuntu\n"}, "image is"),
        ({"image": "a" * 513}, "image is"),
        ({"image": "ubuntu@sha256:short"}, "image is"),
        ({"card_uuids": ()}, "cards is 'none'"),
        ({"card_uuids": ("all",)}, "card is 'all'"),
        ({"card_uuids": ('GPU-1",capabilities=utility',)}, "card is"),
        ({"words": ("a\0b",)}, "command is 'a text with NUL'"),
        ({"words": ("\ud800",)}, "command is 'half a surrogate pair'"),
        ({"words": ("x" * 65_537,)}, "at most 65536"),
        ({"words": ("x",) * 257}, "at most 256"),
        ({"environment": {"A=B": "1"}}, "environment is 'A=B'"),
        ({"environment": {"-e": "1"}}, "environment is '-e'"),
        ({"environment": {"A": "1\nNVIDIA_VISIBLE_DEVICES=all"}}, "line break"),
        ({"environment": {"NVIDIA_VISIBLE_DEVICES": "all"}}, "begins with none of"),
        ({"ports": (Port(22, 80),)}, "port outside is '80'"),
        ({"ports": (Port(0, 4_000),)}, "port inside is '0'"),
        ({"ports": (Port(22, 4_000, "sctp"),)}, "tcp or udp"),
        ({"ports": (Port(22, 4_000), Port(23, 4_000))}, "one outside twice"),
        ({"mounts": (Mount("../x", "/data"),)}, "volume is '../x'"),
        ({"mounts": (Mount("x", "data"),)}, "mount is 'data'"),
        ({"mounts": (Mount("x", "/"),)}, "mount is '/'"),
        ({"mounts": (Mount("x", "/proc/1"),)}, "mount is '/proc/1'"),
        ({"mounts": (Mount("x", "/a,readonly=0"),)}, "mount is"),
        ({"mounts": (Mount("x", "/a/../../b"),)}, "mount is"),
        ({"mounts": (Mount("x", "/a"), Mount("x", "/b"))}, "one twice"),
        ({"mounts": (Mount("x", "/opt/subnet"),)}, "mount is '/opt/subnet'"),
        ({"mounts": (Mount("x", "/etc/subnet/keys"),)}, "mount is"),
        ({"words": ("x" * 65_536, "x" * 65_536)}, "command is '131072 bytes'"),
        ({"environment": {"A": "x" * 65_000}}, "at most 65000"),
        ({"environment": {f"A{i}": "x" * 50_000 for i in range(4)}}, "environment is '200008 bytes'"),
        ({"attempt": 0}, "attempt is '0'"),
        ({"executor_key": "a=b"}, "machine is"),
        ({"validator_hotkey": "a\n"}, "validator is"),
        ({"publish_address": "evil.example"}, "publish address is"),
        ({"shm_bytes": 0}, "shm_bytes is '0'"),
        ({"cpus": float("nan")}, "cpus is 'nan'"),
        ({"runtime": "/bin/sh"}, "runtime is '/bin/sh'"),
        ({"lease_id": "L 1"}, "lease_id is 'L 1'"),
        ({"renter_id": "r.1"}, "renter_id is 'r.1'"),
    ],
)
def test_what_no_container_can_have_is_refused(change, told):
    """One sentence: the key, what was sent, what was expected; nothing is made."""
    with pytest.raises(SpecRefused) as refused:
        create(replace(SPEC, **change))
    assert told in str(refused.value)


@pytest.mark.parametrize(
    "image",
    [
        "ubuntu",
        "ubuntu:22.04",
        f"ubuntu{DIGEST}",
        f"ghcr.io/a/b-c_d:v1.0{DIGEST}",
        "localhost:5000/x/y:latest",
    ],
)
def test_images_by_tag_and_digest_pass(image):
    """As registries name them."""
    check_spec(replace(SPEC, image=image))


def test_another_renters_volume_can_not_be_named():
    """A volume's name on the machine begins with its renter, and no renter's name has the dot that ends it."""

    def source(renter):
        spec = replace(SPEC, renter_id=renter, mounts=(Mount("data", "/d"),))
        return [argument for argument in create(spec).argv if "source=" in argument]

    assert source("r-1") != source("r-2")
