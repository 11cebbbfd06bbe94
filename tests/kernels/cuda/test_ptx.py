import pytest

from tests.kernels.cuda.ptx import CAPABILITIES, KERNELS, Usage, parse_usage, usages

MOST_REGISTERS = {"fill_lines": 48, "walk_segments": 104, "product": 128}
"""Measured: 32 to 44, 72 to 92, 91 to 114. Of all others: at most 64."""


OFTEN = {"7.5", "9.0", "12.0"}
"""The oldest, the newest and the one in between that earns most; the others are assembled by `make test-long`."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "capability", [c if c in OFTEN else pytest.param(c, marks=pytest.mark.long) for c in CAPABILITIES]
)
def test_every_kernel_is_assembled(capability):
    """For each generation of cards every kernel becomes machine code that keeps what it works on in registers.

    The product's innermost loop is nothing but dp4a, 64 a word of depth, of which NVVM may take two at once.
    """

    found = usages(capability)

    assert tuple(found) == KERNELS
    assert [name for name, usage in found.items() if not usage.is_in_registers] == []
    too_many = {n: u.registers for n, u in found.items() if u.registers > MOST_REGISTERS.get(n, 64)}
    assert too_many == {}
    assert found["product"].dp4a in {64, 128}
    assert found["walk_segments"].shared_bytes == 32 * 4 + (32 * 17 + 4) * 8


def test_what_ptxas_tells():
    """Registers, frame, spills and shared memory are read out of ptxas's own words, and nonsense is no zero."""

    told = """ptxas info    : 8 bytes gmem
ptxas info    : Compiling entry function 'walk' for 'sm_90'
ptxas info    : Function properties for walk
    56 bytes stack frame, 116 bytes spill stores, 156 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers, 56 bytes cumulative stack size, 4512 bytes smem
"""

    usage = parse_usage(told)

    assert usage == Usage(64, 56, 116, 156, 4512)
    assert not usage.is_in_registers
    with pytest.raises(ValueError, match="told nothing"):
        parse_usage("ptxas fatal   : Ptx assembly aborted due to errors")
