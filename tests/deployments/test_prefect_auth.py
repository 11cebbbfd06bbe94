"""The credential of our Prefect server: made once, read by its owner alone, and sent to nobody else."""

import stat
from pathlib import Path

import httpx
import pytest

from deployments.prefect_auth import ASKED, FILE, SENT, auth_file, make_auth, require_auth, take_auth
from deployments.prefect_process import sign_in
from tasks.errors import SettingError

HERE, AWAY = "http://127.0.0.1:4200/api", "https://prefect.example/api"


@pytest.fixture
def folder(tmp_path):
    """A validator's folder, with the file of its credential."""
    make_auth(auth_file(tmp_path))
    return tmp_path


def text_of(folder):
    return auth_file(folder).read_text().strip()


def test_a_server_makes_its_credential_once(tmp_path):
    """Readable by its owner alone, and the same at the next start."""
    first, second = {"SUBNET_FOLDER": str(tmp_path)}, {"SUBNET_FOLDER": str(tmp_path)}
    require_auth(first)
    require_auth(second)

    file = auth_file(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert first[ASKED] == second[ASKED] == file.read_text().strip()
    assert [one.name for one in file.parent.iterdir()] == ["auth"]


def test_what_the_operator_has_set_is_kept(folder):
    """By the environment, for the server and for whoever works with it."""
    own = {"SUBNET_FOLDER": str(folder), "PREFECT_API_URL": HERE, ASKED: "me:mine", SENT: "me:mine"}
    given = dict(own)
    require_auth(given)
    take_auth(given)

    assert given == own


def test_it_is_taken_for_a_server_of_this_computer(folder):
    """Nothing has to be said: the file lies beside the state."""
    given = {"SUBNET_FOLDER": str(folder), "PREFECT_API_URL": HERE}
    take_auth(given)

    assert given[SENT] == text_of(folder)


def test_whoever_starts_before_the_server_makes_it(tmp_path):
    """All processes of a new validator start at once: server and workers have the same in the end."""
    worker, server = ({"SUBNET_FOLDER": str(tmp_path), "PREFECT_API_URL": HERE} for _ in range(2))
    take_auth(worker)
    require_auth(server)

    assert worker[SENT] == server[ASKED] == text_of(tmp_path)


def test_a_folder_in_which_none_can_be_made_is_told(tmp_path):
    """In one sentence, as every mistake of a setting."""
    (tmp_path / "prefect").write_text("a file, not a folder")

    with pytest.raises(SettingError, match="a file that can be made"):
        take_auth({"SUBNET_FOLDER": str(tmp_path), "PREFECT_API_URL": HERE})


@pytest.mark.parametrize("url", ["", AWAY, "http://127.0.0.1.evil.example/api", "http://10.0.0.1:4200/api"])
def test_it_is_sent_to_nobody_else(folder, url):
    """A server that only stands in PREFECT_API_URL is told no password."""
    given = {"SUBNET_FOLDER": str(folder), "PREFECT_API_URL": url}
    take_auth(given)

    assert SENT not in given


def test_a_file_that_is_named_is_for_the_server_that_is_named(folder):
    """The operator has said both."""
    given = {FILE: str(auth_file(folder)), "PREFECT_API_URL": AWAY}
    take_auth(given)

    assert given[SENT] == text_of(folder)


@pytest.mark.parametrize(
    ("text", "mode", "expected"),
    [
        ("subnet:0123456789abcdef", 0o644, "its owner alone may read"),
        ("subnet:short", 0o600, "16 characters or more"),
        ("no colon here at all", 0o600, "16 characters or more"),
        ("subnet:0123456789abcdef\nsecond line", 0o600, "user:password on one line"),
    ],
)
def test_a_file_that_is_none_is_refused_without_what_is_in_it(tmp_path, text, mode, expected):
    """The mistake is one sentence, and the sentence is no secret."""
    file = tmp_path / "auth"
    file.write_text(text)
    file.chmod(mode)

    with pytest.raises(SettingError, match=expected) as raised:
        take_auth({FILE: str(file), "PREFECT_API_URL": HERE})
    assert "0123456789abcdef" not in str(raised.value)
    assert "short" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "asked", "sent"),
    [
        (["server", "start"], True, True),
        (["worker", "start", "--pool", "validator"], False, True),
        ([], False, True),
    ],
)
def test_prefects_own_commands_are_signed_in(folder, arguments, asked, sent):
    """`python -m deployments.prefect_process`: the server asks, and everything else says it."""
    given = {"SUBNET_FOLDER": str(folder), "PREFECT_API_URL": HERE}
    sign_in(arguments, given)

    assert (ASKED in given, SENT in given) == (asked, sent)


@pytest.mark.slow
@pytest.mark.engine
@pytest.mark.xdist_group("flow worker")
def test_nobody_gets_in_without_it(prefect_server, prefect_folder):
    """A server that our commands start asks for it from the first moment, and listens to this computer alone."""
    url, name, password = f"{prefect_server.api_url}/admin/settings", *prefect_server.auth.split(":")

    def status(**how):
        return httpx.get(url, trust_env=False, timeout=30, **how).status_code

    assert status() == 401
    assert status(auth=(name, "wrong")) == 401
    assert status(auth=(name, password)) == 200
    assert prefect_server.auth == text_of(prefect_folder)
    assert listeners(prefect_server.url.rpartition(":")[2]) == {"0100007F"}


def listeners(port):
    """Addresses at which somebody listens on this port, as the kernel writes them."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {
        row[1].split(":")[0] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == int(port)
    }
