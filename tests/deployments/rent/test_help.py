"""Every command of `subnet rent` and `subnet market` as its `--help` shows it."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from deployments.cli import subnet

GROUPS = ("rent", "market")
REPOSITORY = Path(__file__).parents[3]


def walked(group, path):
    """All commands below a group, with the words that call them."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from walked(command, (*path, name))


ALL = {
    " ".join(words): command
    for name in GROUPS
    for words, command in walked(subnet.get_command(click.Context(subnet), name), (name,))
}


def examples(command):
    """The lines of the help's examples."""
    _, _, told = (command.help or "").partition("Examples:\n")
    return [line.strip() for line in told.splitlines() if line.strip()]


def called_words(line, words):
    """What a shell would hand to the command in an example, without pipes, files and the remark behind it."""
    found = shlex.split(re.split(r" {2,}", line)[0])
    begin = next(i for i in range(len(found)) if found[i : i + 1 + len(words)] == ["subnet", *words])
    rest = found[begin + 1 + len(words) :]
    end = next((i for i, word in enumerate(rest) if word in {"|", "<", ">", ">>"}), len(rest))
    return rest[:end]


@pytest.mark.parametrize("words", ALL)
def test_every_command_has_an_example_that_calls_it(words):
    """The help ends in lines that can be typed, and one of them is this very command."""

    told = examples(ALL[words])

    assert told
    assert any(f"subnet {words}" in line for line in told)


@pytest.mark.parametrize("words", [w for w, c in ALL.items() if not isinstance(c, click.Group)])
def test_every_example_is_parsed(words, monkeypatch):
    """No example names an option or an argument that its command does not have."""

    command = ALL[words]
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            monkeypatch.setattr(parameter.type, "exists", False)

    for line in examples(command):
        command.make_context(words, called_words(line, words.split()))


def documented():
    """Every line of a code block of the guides that calls us, with the guide's name."""
    for page in ("renting", "market"):
        blocks = (REPOSITORY / "docs" / f"{page}.md").read_text().split("```")[1::2]
        for line in "\n".join(blocks).splitlines():
            if re.match(r"(\$ )?subnet (rent|market) ", line):
                yield f"{page}: {line.removeprefix('$ ')}"


@pytest.mark.parametrize("line", sorted(set(documented())))
def test_every_line_of_the_guides_is_parsed(line, monkeypatch):
    """What the guides show can be typed: the command is there, and so is each option."""

    typed = line.partition(": ")[2]
    words = next(
        w
        for w in sorted(ALL, key=len, reverse=True)
        if typed.startswith((f"subnet {w} ", f"subnet {w}\n")) or typed == f"subnet {w}"
    )
    command = ALL[words]
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            monkeypatch.setattr(parameter.type, "exists", False)

    assert not isinstance(command, click.Group)
    command.make_context(words, called_words(typed, words.split()))


def test_the_guide_shows_every_verb():
    """A verb that is in no guide is found by nobody."""

    told = (REPOSITORY / "docs" / "renting.md").read_text()

    assert [
        name
        for name in ALL
        if name.startswith("rent ")
        and name.count(" ") == 1
        and not re.search(rf"\b{name.split()[1]}\b", told)
    ] == []


@pytest.mark.parametrize("words", [w for w, c in ALL.items() if not isinstance(c, click.Group)])
def test_programs_can_read_every_answer(words):
    """`--json` is everywhere but where the answer is a shell's script."""

    names = {option for parameter in ALL[words].params for option in parameter.opts}

    assert "--json" in names or words in {"rent completion", "market serve"}


@pytest.mark.parametrize("name", GROUPS)
def test_the_help_of_a_group_imports_no_command(name):
    """Neither httpx, nor FastAPI, nor the database is waited for by who asks for help."""

    code = (
        "import sys\nfrom deployments.cli import subnet\n"
        f"subnet.main(['{name}', '--help'], standalone_mode=False)\n"
        "heavy = {'httpx', 'fastapi', 'pydantic', 'sqlalchemy', 'prefect', 'rich.table', 'numpy'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_a_renters_command_needs_no_server_code():
    """The client is a client: neither FastAPI, nor pydantic, nor Prefect, nor the database is imported by its verbs."""

    code = (
        "import sys, importlib\nfrom deployments.commands.rent import COMMANDS, PLACES\n"
        "for name in COMMANDS:\n"
        "    importlib.import_module('deployments.commands.rent.' + PLACES.get(name, name).partition(':')[0])\n"
        "heavy = {'fastapi', 'pydantic', 'sqlalchemy', 'prefect', 'paramiko', 'numpy', 'pandas'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_verb_is_a_users_mistake():
    """With the pointer to the help."""

    done = CliRunner().invoke(subnet, ["rent", "destroy"])

    assert done.exit_code == 2
    assert "No such command 'destroy'" in done.stderr
