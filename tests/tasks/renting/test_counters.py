"""What a container has used, read from the kernel's counters: both versions of control groups, and whatever a machine makes up."""

import subprocess

import pytest

from tasks.renting.counters import (
    MAX_FOLDERS,
    MOST,
    READ,
    Counters,
    cpu_percent,
    find,
    read_counters,
    read_folders,
    reading,
)

ID = "ab" * 32
SECOND = f"/sys/fs/cgroup/system.slice/docker-{ID}.scope"
V2 = f"""\
/proc/uptime:8100.52 16000.00
/proc/meminfo:MemTotal:       16384 kB
/proc/4242/net/dev:    lo: 9999 9 0 0 0 0 0 0 9999 9 0 0 0 0 0 0
/proc/4242/net/dev:  eth0: 1500 9 0 0 0 0 0 0 700 9 0 0 0 0 0 0
/proc/4242/net/dev:  eth1:  500 9 0 0 0 0 0 0  50 9 0 0 0 0 0 0
{SECOND}/cpu.stat:usage_usec 12500000
{SECOND}/memory.current:10485760
{SECOND}/memory.max:max
{SECOND}/memory.stat:inactive_file 1048576
{SECOND}/io.stat:8:0 rbytes=4096 wbytes=100 rios=1 wios=2 dbytes=0 dios=0
{SECOND}/io.stat:253:0 rbytes=1 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0
{SECOND}/pids.current:7
""".encode()
FIRST = f"/sys/fs/cgroup/memory/docker/{ID}"
V1 = f"""\
/proc/uptime:8100.52 16000.00
/proc/meminfo:MemTotal:       16384 kB
/sys/fs/cgroup/cpu,cpuacct/docker/{ID}/cpuacct.usage:12500000000
{FIRST}/memory.usage_in_bytes:10485760
{FIRST}/memory.limit_in_bytes:9223372036854771712
{FIRST}/memory.stat:inactive_file 4096
{FIRST}/memory.stat:total_inactive_file 1048576
/sys/fs/cgroup/blkio/docker/{ID}/blkio.throttle.io_service_bytes_recursive:8:0 Read 4097
/sys/fs/cgroup/blkio/docker/{ID}/blkio.throttle.io_service_bytes_recursive:8:0 Write 8292
/sys/fs/cgroup/blkio/docker/{ID}/blkio.throttle.io_service_bytes_recursive:8:0 Total 12389
/sys/fs/cgroup/pids/docker/{ID}/pids.current:7
""".encode()
USED = Counters(8100.52, 12.5, 9_437_184, 16_777_216, None, None, 4_097, 8_292, 7)


def test_counters_of_the_second_version():
    """Interfaces and disks are summed; the way to itself is no network, and what is only cached no memory."""
    expected = Counters(8100.52, 12.5, 9_437_184, 16_777_216, 2_000, 750, 4_097, 8_292, 7)
    assert read_counters(V2) == expected


def test_counters_of_the_first_version():
    """The same from a folder for each controller; a container of which no process is seen has no network."""
    assert read_counters(V1) == USED


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        ("cpu.stat:usage_usec -1", "cpu_s", None),
        ("cpu.stat:usage_usec 1e400", "cpu_s", None),
        ("cpu.stat:usage_usec " + "9" * 5_000, "cpu_s", None),
        ("memory.current:" + "9" * 19, "memory_bytes", MOST),
        ("memory.current:nan", "memory_bytes", None),
        ("pids.current:" + "9" * 19, "pids", (1 << 31) - 1),
        ("io.stat:8:0 rbytes=x wbytes=", "read_bytes", None),
        ("../../cpu.stat:usage_usec 7", "cpu_s", 7e-6),
    ],
)
def test_what_is_no_number_is_not_known(line, field, value):
    """And no number is greater than a column holds."""
    assert getattr(read_counters(f"/sys/fs/cgroup/x/{line}\n".encode()), field) == value


@pytest.mark.parametrize(
    "said", [b"", b"\0" * 9_000, b":" * 70_000, b"/proc/uptime:nan\n", b"\xff\n" * 9_000]
)
def test_nonsense_tells_nothing(said):
    """Whatever it is, and however much."""
    assert read_counters(said) == Counters()


def test_folders_are_those_of_the_container_alone():
    """Not the engine's helper's, nothing outside of the groups, and a bounded number."""
    told = [
        SECOND,
        f"/sys/fs/cgroup/machine.slice/libpod-conmon-{ID}.scope",
        "/etc/passwd",
        f"/sys/fs/cgroup/../{ID}",
    ]
    many = "\n".join(f"/sys/fs/cgroup/{n}/{ID}" for n in range(10_000))

    assert read_folders("\n".join(told).encode()) == (SECOND,)
    assert len(read_folders(many.encode())) == MAX_FOLDERS


@pytest.mark.parametrize("name", ["", "*", "ab", "../" + ID, ID + "/x", "g" * 64])
def test_only_an_id_is_looked_for(name):
    """Nothing else becomes part of a pattern."""
    with pytest.raises(ValueError, match="no id"):
        find(name)


def test_the_script_reads_what_is_there(tmp_path):
    """Files that a version does not have are passed over, and lines that nobody wants are not sent."""
    folder = tmp_path / "it's; $(a) group"
    folder.mkdir()
    (folder / "cgroup.procs").write_text("1\n")
    (folder / "cpu.stat").write_text("usage_usec 5\nuser_usec 4\n")
    words = reading([str(folder)])
    told = subprocess.run(words, capture_output=True, text=True, check=False).stdout

    assert words[:3] == ("sh", "-c", READ)
    assert f"{folder}/cpu.stat:usage_usec 5\n" in told
    assert "user_usec" not in told
    assert "/proc/uptime:" in told
    assert "/proc/1/net/dev:" in told


def test_what_a_processor_did_is_known_of_two_readings():
    """4 s of work in 2 s are two cores; after a new start, or without a clock, nobody knows."""
    now = Counters(uptime_s=102.0, cpu_s=14.0)

    assert cpu_percent(Counters(100.0, 10.0), now) == 200.0
    assert cpu_percent(Counters(100.0, 20.0), now) is None
    assert cpu_percent(Counters(101.9, 10.0), now) is None
    assert cpu_percent(Counters(None, 10.0), now) is None
    assert cpu_percent(None, now) is None
    assert cpu_percent(Counters(100.0, 0.0), Counters(101.0, 1e9)) == 409_600.0
