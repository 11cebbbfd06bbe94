"""A lease's container, made ready while its cards are proved: made and not started, where the image is on the machine already.

    job.ready = Readying(lambda: make_ready(job, lease, deadline))     a thread of its own; never raises
    job.ready.wait(deadline)                                           until its engine is free again
    job.ready.image                                                    of what it was made, then
    job.ready.take(image)                                              what stands, if it is of this image

Whoever lies about its cards has seen an image's name and a host key by then, and nothing of it has run. What does not come
about here is made in its own step, which says why.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as StillGoingOn
from dataclasses import dataclass

from storage.errors import StorageError
from tasks.edges.engine import Image
from tasks.errors import HostAway, SubnetError
from tasks.renting.containers import ContainerSpec


@dataclass(frozen=True, slots=True)
class Ready:
    """A container that was made and not started."""

    image: Image
    spec: ContainerSpec


class Readying:
    """Making one in a thread."""

    def __init__(self, make: Callable[[], Ready | None]) -> None:
        self._made: Future[Ready | None] = Future()
        threading.Thread(target=self._run, args=(make,), name="ready", daemon=True).start()

    def wait(self, deadline: float) -> None:
        """Until it has ended; HostAway when it goes on at the deadline."""
        try:
            self._made.result(timeout=max(0.0, deadline - time.monotonic()))
        except StillGoingOn:
            raise HostAway("create", "the container is still being made") from None

    @property
    def image(self) -> Image | None:
        """The image that was on the machine; None: a registry has to be asked."""
        made = self._made.result(timeout=0)
        return made.image if made is not None else None

    def take(self, image: Image) -> ContainerSpec | None:
        """What stands, if it is of this image; None: whatever stands by its name is another."""
        made = self._made.result(timeout=0)
        return made.spec if made is not None and made.image.image_id == image.image_id else None

    def _run(self, make: Callable[[], Ready | None]) -> None:
        try:
            self._made.set_result(make())
        except (SubnetError, StorageError):
            self._made.set_result(None)
        except BaseException as error:  # noqa: BLE001  whoever waits for it raises it
            self._made.set_exception(error)
