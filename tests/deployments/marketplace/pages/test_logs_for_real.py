"""A real container's log and commands through the pages: what the engine prints is what the browser gets."""

from dataclasses import replace
from itertools import pairwise

import pytest

from deployments.marketplace.machines import MachineConsole
from tests.deployments.marketplace.pages.reading import read
from tests.deployments.marketplace.pages.test_logs import followed, where
from tests.deployments.marketplace.pages.visiting import signed_in
from tests.deployments.marketplace.serving import served
from tests.deployments.marketplace.world import NO_LIMITS, world
from tests.tasks.edges.rented import rented, spec

pytestmark = pytest.mark.xdist_group("engine")
COUNTS = 'n=0; while :; do echo "$n é"; n=$((n+1)); sleep 0.05; done'


class Machine:
    """Sessions to one machine, whose engine is this."""

    def __init__(self, runtime, container):
        self._runtime, self._container = runtime, container

    async def open(self, *_):
        """A session of its own."""
        return MachineConsole(self, self._container)

    def engine(self, _deadline):
        """The one that is kept."""
        return self._runtime

    def close(self):
        """Nothing is held."""


def test_a_real_log_is_followed_without_a_gap(docker, tmp_path):
    """From the page's last line on, and behind the last one that came, each line once; a command runs in the same container."""
    with (
        docker.runtime(tmp_path) as runtime,
        rented(docker, runtime, spec(words=("sh", "-c", COUNTS))) as box,
        world(tmp_path, limits=replace(NO_LIMITS, poll_s=0.1)) as simple,
    ):
        lease = simple.active(simple.client())
        market = simple.rebuilt(consoles=Machine(runtime, box.name))
        browser, at = signed_in(market), f"/leases/{lease.lease_id}"
        page = read(browser.get(f"{at}/logs"))
        text = page.texts[[*page.texts].index(next(t for t in page.texts if "0 é" in t))]
        answer = browser.submit(
            browser.get(f"{at}/console"),
            f"{at}/console",
            argv="printf '%s|' \"a b\" c",
            stdin="",
            timeout_s="20",
        )
        with served(market.app) as url:
            last = ""
            for _ in range(2):
                headers = {"Last-Event-ID": last} if last else {}
                with followed(url, browser, where(page), **headers) as events:
                    for _, name, told in (next(events) for _ in range(3)):
                        text, last = text + told["text"], name

    numbers = [int(line.split(" ")[0]) for line in text.split("\n") if line]
    assert len(numbers) > 5
    assert all(later - earlier == 1 for earlier, later in pairwise(numbers))
    assert "a b|c|" in read(answer).text
    assert "exit code 0" in read(answer).text
