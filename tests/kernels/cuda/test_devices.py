from types import SimpleNamespace

import pytest

from kernels.cards import CardError
from kernels.cuda.devices import DriverDevices

UUID = "GPU-5b8f4d2a-0c1e-4b7a-9d3f-0123456789ab"


class Gpu(SimpleNamespace):
    """A card in numba-cuda's list, whose context is broken: whatever is called of it fails."""

    def __enter__(self):
        raise RuntimeError("illegal address")

    def __exit__(self, *_):
        raise AssertionError

    def reset(self):
        self.resets += 1
        raise RuntimeError("illegal address")


def gpus():
    cards = [(UUID, (8, 6)), (UUID.replace("5b", "6b"), (7, 0)), (UUID.replace("5b", "7b"), (12, 0))]
    return [Gpu(uuid=uuid, compute_capability=capability, resets=0) for uuid, capability in cards]


@pytest.mark.parametrize("asked", [UUID, UUID.lower(), UUID.upper()])
def test_cards_are_found_by_uuid(asked):
    """A card is found by the UUID that nvidia-smi prints, in whatever case it comes."""

    assert DriverDevices(gpus()).find(asked).uuid == UUID


def test_cards_that_can_not_be_used():
    """A card that the driver does not show is told apart from one that is too old, and both from one given back."""

    devices = DriverDevices(gpus())
    used = devices.find(UUID.replace("5b", "7b"))
    used.reset()
    told = []
    for uuid in ("GPU-none", UUID.replace("5b", "6b"), used.uuid):
        with pytest.raises(CardError) as caught:
            devices.find(uuid)
        told.append((caught.value.code, caught.value.detail))

    assert told[0] == (
        "CARD_NOT_FOUND",
        f"GPU-none is no card that the driver shows: {', '.join(g.uuid for g in gpus())}",
    )
    assert told[1][0] == told[2][0] == "FORM_UNAVAILABLE"
    assert "compute capability 7.0, 7.5 (Turing) or newer is needed" in told[1][1]
    assert "one process is for one proof" in told[2][1]


def test_only_cards_that_can_run_the_kernels_practise():
    """Of all cards those are warmed up that are new enough."""

    assert [d.capability for d in DriverDevices(gpus()).all()] == [(8, 6), (12, 0)]


def test_a_broken_context_is_destroyed():
    """A reset goes on to destroy the context where freeing fails, and raises nothing over what went wrong before."""

    gpu = Gpu(uuid="GPU-broken", compute_capability=(9, 0), resets=0)
    DriverDevices([gpu]).all()[0].reset()

    assert gpu.resets == 1
