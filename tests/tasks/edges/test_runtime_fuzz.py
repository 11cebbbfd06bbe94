"""Tenant text in every field, with a real engine: refused by the spec, or in the container as it is; on the host nothing runs."""

from dataclasses import replace

import pytest

from tasks.edges.bounded import Bounds
from tasks.edges.engine import RegistryLogin
from tasks.edges.shell import Shell, ShellSettings
from tasks.edges.toolbox import keys_file, keys_seed
from tasks.errors import ContainerRefused, ImageRefused, SpecRefused, VolumeRefused
from tasks.renting.containers import Mount, create, name_of, volume_name
from tests.engines import PLAIN, soon
from tests.tasks.edges.rented import rented, spec

ROOMY = Shell(ShellSettings(bounds=Bounds.for_bytes(64 << 20, 900.0)))
pytestmark = pytest.mark.xdist_group("engine")

NASTY = {
    "quotes": "'\"''\"",
    "substitution": "$(touch @CANARY)",
    "backticks": "`touch @CANARY`",
    "command": "; touch @CANARY;",
    "pipe": "| touch @CANARY",
    "background": "& touch @CANARY &",
    "lines": "a\ntouch @CANARY\n",
    "carriage": "a\r\nb",
    "option": "--privileged",
    "mount": "-v=/:/host",
    "file": "@/etc/shadow",
    "stdin": "-",
    "end": "--",
    "variable": "$HOME ${PATH} %s %n",
    "template": "{{json .}} {{.Config.Env}}",
    "unicode": "é\u202e\u2028\U0001f4a9",
    "tab": "\t a  b \t",
    "control": "\x01\x1b[2J\x7f",
    "backslash": "\\\\n\\",
    "glob": "* ? [a] ~ !",
    "comma": "a,readonly=0,source=/",
    "equals": "=a=b==",
    "hash": "# a",
    "long": "x" * 64_000,
    "longest": "y" * 65_536,
    "empty": "",
}
EVERY_DAY = {"quotes", "substitution", "lines", "option", "stdin", "template", "control", "empty", "longest"}
"""One of each kind, for what costs an engine a container or several calls; the others are long tests there."""
WORST = {"nul": "a\0b", "surrogate": "\ud800", "too long": "z" * 65_537}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("machine")


@pytest.fixture(scope="module")
def runtime(docker, home):
    with docker.runtime(home, shell=ROOMY) as runtime:
        yield runtime


@pytest.fixture(scope="module")
def box(docker, runtime):
    """A container that all texts may share."""
    with rented(docker, runtime) as box:
        yield box


@pytest.fixture
def canary(home, tmp_path):
    """What a text that is executed anywhere on the host makes; nothing must have made it."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists()


def by_day(names):
    """These names, those that are of no kind of their own marked as long tests."""
    return [
        name if name in EVERY_DAY | set(WORST) else pytest.param(name, marks=pytest.mark.long)
        for name in names
    ]


def texts(canary, names=NASTY):
    return {name: text.replace("@CANARY", str(canary)) for name, text in names.items()}


@pytest.mark.parametrize("has_toolbox", [True, False])
def test_words_and_values_arrive_as_they_are(docker, runtime, canary, has_toolbox):
    """Each text as a word of the command and, where it has one line, as a variable's value: byte for byte in there."""
    nasty = texts(canary)
    words = [text for name, text in nasty.items() if name != "longest"]
    values = {
        f"V{i}": text
        for i, (name, text) in enumerate(nasty.items())
        if name not in ("lines", "carriage", "longest", "long")
    }
    script = 'for w in "$@"; do printf "%s\\0" "$w"; done > /words; cat /proc/$$/environ > /env; exec sleep 1000000'
    wanted = spec(words=("sh", "-c", script, "sh", *words), environment=values)
    if has_toolbox:
        with rented(docker, runtime, wanted) as box:
            check(runtime, box.name, words, values)
        return
    image = runtime.image(PLAIN, deadline=soon())
    name = name_of(wanted.lease_id, wanted.attempt)
    runtime.create(wanted, image, deadline=soon())
    try:
        runtime.start(name, deadline=soon())
        check(runtime, name, words, values)
    finally:
        runtime.remove(name, deadline=soon())


def check(runtime, name, words, values):
    """Compare what the program was given with what was sent."""
    script = "until [ -s /env ]; do sleep 0.05; done; sleep 0.1; cat /words"
    got = runtime.execute(name, ["sh", "-c", script], deadline=soon())
    assert got.stdout == b"".join(w.encode() + b"\0" for w in words)
    environment = runtime.execute(name, ["cat", "/env"], deadline=soon()).stdout.split(b"\0")
    for variable, value in values.items():
        assert f"{variable}={value}".encode() in environment


@pytest.mark.parametrize("name", by_day([*NASTY, *WORST]))
def test_a_text_as_entrypoint(docker, runtime, canary, name):
    """It is a program's name and nothing else: none is called so, and the log or the engine says it."""
    text = texts(canary, {**NASTY, **WORST})[name]
    wanted = replace(spec(), entrypoint=text, words=())
    if name in WORST:
        with pytest.raises(SpecRefused):
            create(wanted)
        return
    with rented(docker, runtime, wanted, is_started=False) as box:
        runtime.start(box.name, deadline=soon())
        assert runtime.inspect(box.name, deadline=soon()).is_running


@pytest.mark.parametrize("name", [*NASTY, *WORST])
def test_a_text_in_a_field_with_a_grammar(runtime, canary, name):
    """Names, images, places, addresses: refused before the engine hears of it, but for what fits the grammar."""
    text = texts(canary, {**NASTY, **WORST})[name]
    changes = [
        {"lease_id": text},
        {"renter_id": text},
        {"image": text},
        {"card_uuids": (text,)},
        {"environment": {text: "1"}},
        {"mounts": (Mount(text, "/data"),)},
        {"mounts": (Mount("data", text),)},
        {"runtime": text},
        {"validator_hotkey": text},
        {"executor_key": text},
        {"publish_address": text},
    ]
    harmless = {("empty", key) for key in ("runtime", "validator_hotkey", "executor_key", "publish_address")}
    harmless |= {("stdin", "validator_hotkey"), ("stdin", "executor_key")}
    harmless |= {(n, k) for n in ("option", "end") for k in ("validator_hotkey", "executor_key")}
    for change in changes:
        (key,) = change
        if (name, key) in harmless:
            create(replace(spec(), **change))
            continue
        with pytest.raises(SpecRefused):
            create(replace(spec(), **change))
    with pytest.raises(SpecRefused):
        keys_file([text])
    with pytest.raises(SpecRefused):
        volume_name("r-1", text)


@pytest.mark.parametrize("name", by_day(n for n in NASTY if n not in ("long", "longest")))
def test_a_text_where_only_the_engine_could_refuse_it(docker, runtime, box, canary, name):
    """Commands to execute, places to save, images to pull and their logins: a value each time, whatever it looks like."""
    text = texts(canary)[name]
    told = runtime.execute(box.name, ["printf", "%s", text], deadline=soon())
    assert (told.exit_code, told.stdout.decode()) == (0, text)
    try:
        ran = runtime.execute(box.name, [text], deadline=soon())
    except ContainerRefused:
        pass  # an empty word is no command
    else:
        assert ran.exit_code in (1, 126, 127)
    for path in (text, f"/{text}/none"):
        with pytest.raises((ContainerRefused, VolumeRefused)):
            runtime.backup(box.name, path, bytearray().extend, limit_bytes=1 << 20, deadline=soon())
    for login in (None, RegistryLogin(text, text, text)):
        with pytest.raises(ImageRefused):
            runtime.pull(text, login, deadline=soon())
    told = docker.run("inspect", "--format={{.HostConfig.Privileged}} {{.HostConfig.Binds}}", box.name)
    assert told == "false []"


def test_names_that_look_like_options_are_names(runtime, box, canary):
    """Files in a tar that goes in, with such names: they lie in the container."""
    runtime.execute(
        box.name, ["touch", "--", "--privileged", f"$(touch {canary})".replace("/", "_")], deadline=soon()
    )
    got = bytearray()
    runtime.backup(box.name, "/--privileged", got.extend, limit_bytes=1 << 20, deadline=soon())
    assert b"--privileged" in got


def test_a_keys_comment_is_a_comment(runtime, box, canary):
    """A public key whose comment has a substitution in it: a line of the file, and no more."""
    key = f"ssh-ed25519 {'A' * 68} $(touch {canary}); `touch {canary}`"
    runtime.put_keys(box.name, keys_seed([key]), keys_file([key]), deadline=soon())
    told = runtime.execute(box.name, ["cat", "/root/.ssh/authorized_keys"], deadline=soon())
    assert told.stdout.decode() == key + "\n"
