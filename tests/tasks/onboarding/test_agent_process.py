"""The agent as a process that outlives whoever started it: one at a time, found again, and ended for sure."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.onboarding.agent import AgentProcess
from tasks.onboarding.opening import serve
from tests.deployments.localnet.visiting import is_gone, wait_for
from tests.tasks.onboarding.a_run import a_run

ROOT = Path(__file__).parents[3]


@pytest.fixture
def program(tmp_path):
    """In the place of `subnet`: it says what it was started with, and waits."""
    path = tmp_path / "subnet"
    path.write_text(
        f'#!/bin/sh\necho "$@" in "$HOME"\nexec {sys.executable} -c \'import time; time.sleep(60)\'\n'
    )
    path.chmod(0o755)
    return path


@pytest.fixture
def agent(tmp_path, program):
    made = AgentProcess(tmp_path / "agent", {"HOME": "/nowhere", "PATH": os.defpath}, program)
    yield made
    made.stop()


def pid_of(agent):
    return agent._told()[0]


def test_one_runs_whoever_asks(agent, program):
    """The same again is none; with other arguments it is another one, and the first has ended."""

    began = agent.ensure(("miner", "serve"))
    first = pid_of(agent)
    same = agent.ensure(("miner", "serve"))
    second = pid_of(agent)
    other = agent.ensure(("miner", "serve", "--port", "7"))

    assert (began, same, other) == (True, False, True)
    assert first == second
    assert is_gone(first)
    assert agent.running() == (str(program), "miner", "serve", "--port", "7")
    assert wait_for(lambda: "miner serve --port 7 in /nowhere" in agent.last_words())


def test_it_runs_nothing_of_the_folder_it_is_started_from(agent, tmp_path, monkeypatch):
    """A module there that is named as one of Python's own is not taken for it."""

    (tmp_path / "json.py").write_text("open('taken', 'w')")
    monkeypatch.chdir(tmp_path)
    agent.ensure(("miner",))

    assert pid_of(agent)
    assert not (tmp_path / "taken").exists()


def test_it_outlives_its_starter_and_is_found_again(agent, tmp_path, program):
    """Whoever started it was killed: the next one finds it by its lock, and ends it."""

    code = (
        "import os, sys, time; from pathlib import Path; from tasks.onboarding.agent import AgentProcess;"
        "AgentProcess(Path(sys.argv[1]), {'PATH': os.defpath}, Path(sys.argv[2])).ensure(('miner',));"
        "print('up', flush=True); time.sleep(60)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "agent"), str(program)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout.readline() == "up\n"
        starter.kill()
    pid = pid_of(agent)

    assert agent.running() == (str(program), "miner")
    assert not agent.ensure(("miner",))
    assert pid_of(agent) == pid
    assert (agent.stop(), agent.running(), agent.stop()) == (True, None, False)
    assert is_gone(pid)


def test_one_that_died_does_not_run(agent):
    """Killed from outside: nothing says that it runs, and it is started again."""

    agent.ensure(("miner",))
    os.kill(pid_of(agent), signal.SIGKILL)

    assert wait_for(lambda: agent.running() is None)
    assert agent.ensure(("miner",))


def test_looking_is_in_nobodys_way(agent):
    """While others look all the time, it is started at the first try."""

    code = (
        "import sys; from pathlib import Path; from tasks.onboarding.agent import AgentProcess\n"
        "agent = AgentProcess(Path(sys.argv[1]), {}); print('looks', flush=True)\n"
        "while True: agent._is_held()"
    )
    agent.folder.mkdir()
    (agent.folder / "agent.lock").touch()
    words = [sys.executable, "-c", code, str(agent.folder)]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as looking:
        assert looking.stdout.readline() == "looks\n"
        agent.ensure(("miner",))
        time.sleep(0.1)
        looking.kill()

    assert agent.running() is not None


def test_an_owner_who_runs_it_elsewhere_has_it_ended_here(agent, tmp_path, program):
    """Once; where none runs there is nothing to tell."""

    agent.ensure(("miner",))
    told = []
    work = a_run(tmp_path, told.append, program, runs_agent=False)
    for _ in range(2):
        asyncio.run(serve(work))
    work.close()

    assert agent.running() is None
    assert [(p.step, p.state.value) for p in told] == [("agent", "begun"), ("agent", "done")]
