"""Whole conversations with the CUDA form under the CUDA simulator: `python conversing.py < scenarios > told`, JSON both.

The simulator has one device and runs one kernel at a time. So the cards are simulated here: each has a UUID, a budget
of bytes and a count of what it holds, and whoever makes one active has the simulator for as long.
"""

from __future__ import annotations

import base64
import json
import math
import sys
import threading
import warnings
from contextlib import contextmanager

import numpy as np
from numba import cuda

from kernels import prover
from kernels.cards import CardError
from kernels.messages import CARD_MEMORY_SHORT, CARD_NOT_FOUND

ONE_AT_A_TIME = threading.Lock()


class SimulatedDevice:
    def __init__(self, uuid, budget_bytes, refuses_above=None, breaks_at=None, *, is_loaded=True):
        self.uuid, self.budget_bytes, self.is_loaded = uuid, budget_bytes, is_loaded
        self.refuses_above, self.breaks_at = refuses_above, breaks_at
        self.held_bytes = self.most_bytes = self.uses = self.resets = 0
        self._is_active = False

    @property
    def is_any_loaded(self):
        return self.is_loaded

    def note_loaded(self):
        self.is_loaded = True

    @contextmanager
    def active(self):
        with ONE_AT_A_TIME:
            self._is_active = True
            self.uses += 1
            try:
                if self.breaks_at is not None and self.uses >= self.breaks_at:
                    raise RuntimeError("illegal address: no call of this context goes well any more")
                yield
            finally:
                self._is_active = False

    def free_bytes(self):
        assert self._is_active
        return self.budget_bytes - self.held_bytes

    def allocate(self, shape):
        assert self._is_active
        size = 4 * math.prod(shape)
        if size > (self.refuses_above or self.free_bytes()):
            raise CardError(CARD_MEMORY_SHORT, f"{self.uuid} refuses {size} bytes")
        self.held_bytes += size
        self.most_bytes = max(self.most_bytes, self.held_bytes)
        return cuda.device_array(shape, np.uint32)

    def free(self):
        self.held_bytes = 0

    def reset(self):
        self.held_bytes = 0
        self.resets += 1


class SimulatedDevices:
    def __init__(self, devices):
        self._devices = devices

    def all(self):
        return self._devices

    def find(self, uuid):
        for device in self._devices:
            if device.uuid == uuid:
                return device
        raise CardError(CARD_NOT_FOUND, f"{uuid} is no card here")


def hold(scenario):
    """One conversation: the frames that answered, what each card says afterwards, and the threads that are left."""
    devices = [SimulatedDevice(**device) for device in scenario["devices"]]
    frames = [base64.b64decode(frame) for frame in scenario["frames"]]
    answers = []

    def write(frame):
        if len(answers) == scenario.get("hears"):
            raise BrokenPipeError
        answers.append(base64.b64encode(frame).decode())

    prover.serve(lambda: frames.pop(0) if frames else None, write, devices=SimulatedDevices(devices))
    return {
        "answers": answers,
        "devices": [
            {"held": d.held_bytes, "most": d.most_bytes, "resets": d.resets, "is_loaded": d.is_loaded}
            for d in devices
        ],
        "threads": threading.active_count(),
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore", RuntimeWarning)  # words that wrap around, as they should
    json.dump([hold(scenario) for scenario in json.load(sys.stdin)], sys.stdout)
