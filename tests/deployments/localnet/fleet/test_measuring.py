from __future__ import annotations

import subprocess
import sys
import time

import pytest

from deployments.localnet.fleet.measuring import VALIDATOR, Watch, idle_cores, parse_stat

BUSY = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"
PARENT = f"""
import resource, subprocess, sys, socket, threading, time
def used():
    looks = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return [look.ru_utime + look.ru_stime for look in looks]
sockets = [socket.socket() for _ in range(20)]
print("ready", flush=True)
sys.stdin.readline()
before_s = used()
threads = [threading.Thread(target=sys.stdin.read, daemon=True) for _ in range(5)]
for thread in threads: thread.start()
subprocess.run([sys.executable, "-c", {BUSY.format(seconds=0.4)!r}])
{BUSY.format(seconds=0.3)}
print(*(now_s - then_s for now_s, then_s in zip(used(), before_s)), flush=True)
time.sleep(60)
"""


@pytest.fixture
def start():
    """Starts a Python program; all are ended with the test."""
    running = []

    def run(program):
        running.append(
            subprocess.Popen(
                [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        )
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.communicate()


def test_a_tree_is_measured_with_its_children_and_apart_from_others(start):
    """0.3 s of its own and 0.4 s of a child that has ended, its start in; another tree of ours is idle meanwhile."""
    idle, busy = start("import time; time.sleep(60)"), start(PARENT)
    assert busy.stdout.readline() == "ready\n"
    with Watch({"idle": idle.pid, "busy": busy.pid}, every_s=0.05) as watch:
        busy.stdin.write("go\n")
        busy.stdin.flush()
        own_s, children_s = map(float, busy.stdout.readline().split())
    used, rest = watch.usage("busy"), watch.usage("idle")

    assert own_s >= 0.3
    assert children_s >= 0.4
    assert used.cpu_s == pytest.approx(own_s + children_s, abs=0.05)
    assert used.children_cpu_s == pytest.approx(children_s, abs=0.05)
    assert used.peak_threads >= 6
    assert used.peak_processes == 2
    assert used.peak_memory_mib > 5
    assert rest.cpu_s < 0.1
    assert rest.peak_processes == 1


def test_sockets_of_all_processes_are_counted(start):
    """Those that are open when a look counts them."""
    busy = start(PARENT)
    busy.stdout.readline()
    watch = Watch({}, every_s=60.0)
    watch.look()

    assert watch.usage(VALIDATOR).peak_sockets >= 20


def test_what_was_used_before_does_not_count(start):
    """Only from the beginning of the watch on."""
    busy = start(PARENT)
    busy.stdout.readline()

    assert idle_cores(busy.pid, 0.3, time.sleep) < 0.2


def test_a_program_may_be_called_anything():
    """Brackets, spaces and numbers in its name are no fields."""
    fields = "S 10 1 1 0 -1 4194560 1 1 0 0 250 50 20 30 20 0 7 0 12345 1000 4 18446744073709551615"
    look = parse_stat(42, f"42 (a) b (1 2) 3) {fields}")

    assert (look.pid, look.parent, look.started, look.threads) == (42, 10, 12345, 7)
    assert (look.cpu_s, look.reaped_s) == (3.0, 0.5)
