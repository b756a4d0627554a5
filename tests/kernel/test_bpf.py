"""Objects, their constants, globals, maps and programs, on the real kernel."""

from __future__ import annotations

import os
import selectors
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bpftune.compile import compile_all, find_clang
from bpftune.kernel.bpf import BpfObject, RingBuffer
from bpftune.kernel.bpf_error import BpfError, summary_of
from bpftune.kernel.btf import BtfError
from tests.leftovers import in_cycles

HERE = Path(__file__).parent
PROBE = HERE / "probe.bpf.o"
THING = 72  # bytes of struct thing_seen with its header


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    compile_all(HERE)


@pytest.fixture
def probe() -> Iterator[BpfObject]:
    with BpfObject(PROBE) as opened:
        yield opened


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@contextmanager
def ring_of(loaded: BpfObject) -> Iterator[RingBuffer]:
    ring = RingBuffer(loaded.map_fd("events"))
    try:
        yield ring
    finally:
        ring.close()


def test_programs_are_listed_with_their_sections(probe: BpfObject) -> None:
    assert ("send_thing", "syscall") in probe.programs
    assert len(probe.programs) == 6


def test_constants_of_every_size_are_set_before_load(probe: BpfObject) -> None:
    values = {"const8": 200, "const16": -300, "const32": 5, "const64": 2**63}
    for name, value in values.items():
        probe.set_constant(name, value)
    probe.set_constant("tuner_id", 3)
    probe.load()
    with ring_of(probe) as ring:
        assert probe.run("send_thing") == 0
        assert probe.run("send_reserved") == 0
        thing, reserved = ring.consume()
    assert int.from_bytes(thing[:4], "little") == 3
    assert thing[16] == 200
    assert int.from_bytes(thing[24:32], "little", signed=True) == -300
    assert int.from_bytes(reserved[8:16], "little") == 2**63


def test_constants_that_do_not_exist_or_fit_are_refused(probe: BpfObject) -> None:
    with pytest.raises(BpfError, match="no constant nothing"):
        probe.set_constant("nothing", 1)
    with pytest.raises(BpfError, match="256 does not fit into const8"):
        probe.set_constant("const8", 256)
    with pytest.raises(BpfError, match="-32769 does not fit into const16"):
        probe.set_constant("const16", -32769)
    assert not probe.has_constant("live")


def test_variables_are_shared_with_the_running_programs(probe: BpfObject) -> None:
    probe.set_constant("const32", 7)
    probe.load()
    live = probe.variable("live")
    assert live.value == 0
    live.value = 2**40
    assert probe.run("count_up") == -5
    assert live.value == 2**40 + 7
    assert live.raw == (2**40 + 7).to_bytes(8, "little")
    data = probe.variable("in_data")
    assert data.raw == (-5).to_bytes(4, "little", signed=True)
    data.raw = (12).to_bytes(4, "little")
    assert probe.run("count_up") == 12
    with pytest.raises(ValueError, match="3 bytes for a variable of 4"):
        data.raw = b"abc"
    with pytest.raises(OverflowError):
        data.value = 2**32
    with pytest.raises(BpfError, match="no variable nothing"):
        probe.variable("nothing")


def test_maps_are_read_and_written(probe: BpfObject) -> None:
    probe.load()
    key, value = b"\1\0\0\0", b"12345678"
    assert probe.lookup("table", key) is None
    probe.update("table", key, value)
    assert probe.lookup("table", key) == value
    probe.delete("table", key)
    probe.delete("table", key)
    assert probe.lookup("table", key) is None


def test_wrong_sizes_never_reach_the_kernel(probe: BpfObject) -> None:
    probe.load()
    with pytest.raises(BpfError, match="a key has 4 bytes, not 3"):
        probe.lookup("table", b"abc")
    with pytest.raises(BpfError, match="a value has 8 bytes, not 1"):
        probe.update("table", b"abcd", b"1")
    with pytest.raises(BpfError, match="a key has 4 bytes, not 5"):
        probe.delete("table", b"abcde")
    with pytest.raises(BpfError, match="has no map nothing"):
        probe.lookup("nothing", b"")


def test_a_full_map_says_so(probe: BpfObject) -> None:
    probe.load()
    for number in range(4):
        probe.update("table", bytes([number, 0, 0, 0]), bytes(8))
    with pytest.raises(BpfError, match="map table cannot be changed: E2BIG"):
        probe.update("table", bytes([4, 0, 0, 0]), bytes(8))


@contextmanager
def only_maps(objects: Path) -> Iterator[BpfObject]:
    """Load the maps of the tuner *congestion*, and no program."""
    with BpfObject(objects / "tuners" / "congestion" / "congestion.bpf.o") as opened:
        for name, _ in opened.programs:
            opened.disable(name)
        opened.load()
        yield opened


def test_a_map_tells_how_full_it_is(objects: Path) -> None:
    with only_maps(objects) as opened:
        key_bytes, value_bytes = opened.sizes("assignments")
        for number in range(3000):  # more than are looked at at once
            key = number.to_bytes(key_bytes, "little")
            opened.update("assignments", key, bytes(value_bytes))
            assert number or opened.usage()["assignments"] == (1, 8192)
        assert opened.usage()["assignments"] == (3000, 8192)
        assert opened.usage()["flows"][0] == 0
        assert opened.usage()["events"][0] is None


def test_nobody_knows_how_full_a_map_is_that_is_not_loaded(probe: BpfObject) -> None:
    with pytest.raises(BpfError, match="is not loaded"):
        probe.usage()


def test_nothing_that_is_read_again_and_again_leaves_cycles(objects: Path) -> None:
    """What only the collector finds makes a process larger, by chance and for good."""
    with only_maps(objects) as opened:
        key, value = map(bytes, opened.sizes("assignments"))
        opened.update("assignments", key, value)

        def read() -> None:
            assert opened.usage()["assignments"] == (1, 8192)
            assert opened.lookup("assignments", key) == value

        assert in_cycles(read) == 0


def test_what_is_detached_can_be_attached_again() -> None:
    with BpfObject(HERE / "refused.bpf.o") as opened:
        for name, _ in opened.programs:
            if name != "walks":
                opened.disable(name)
        opened.load()
        before = open_files()
        for _ in range(3):
            opened.attach("walks")
            opened.detach("walks")
        assert open_files() == before


def test_a_map_before_load_is_an_error(probe: BpfObject) -> None:
    with pytest.raises(BpfError, match=r"table of probe.bpf.o is not loaded"):
        probe.map_fd("table")


def test_the_rate_limit_lets_one_through(probe: BpfObject) -> None:
    probe.load()
    assert [probe.run("ask_due") for _ in range(3)] == [1, 0, 0]


def test_padding_of_events_is_zero(probe: BpfObject) -> None:
    """The ring was full of ones before: none of them shows."""
    probe.load()
    with ring_of(probe) as ring:
        for _ in range(2000):
            probe.run("send_filler")
            probe.run("send_thing")
            filler, thing = ring.consume()
            assert filler[16:] == b"\xff" * 960
            assert len(thing) == THING
            # after small; before ports' alignment; in and after inner; the end
            assert not any(thing[17:24] + thing[54:56] + thing[57:60] + thing[65:])


def test_a_full_ring_counts_what_is_lost(probe: BpfObject) -> None:
    probe.load()
    lost = probe.variable("lost_events")
    with ring_of(probe) as ring:
        sent = 0
        while probe.run("send_filler") == 0:
            sent += 1
        probe.run("send_thing")
        assert lost.value >= 1
        before = lost.value
        assert probe.run("send_filler") == -1
        assert lost.value == before + 1
        assert len(ring.consume()) >= sent
        probe.run("send_thing")
        assert len(ring.consume()) == 1


def test_waiting_wakes_for_an_event(probe: BpfObject) -> None:
    probe.load()
    with ring_of(probe) as ring, selectors.DefaultSelector() as selector:
        selector.register(ring.fd, selectors.EVENT_READ)
        assert selector.select(0) == []
        probe.run("send_thing")
        assert len(selector.select(5)) == 1
        assert len(ring.consume()) == 1
        assert selector.select(0) == []


def test_a_batch_is_bounded_and_the_rest_still_wakes(probe: BpfObject) -> None:
    probe.load()
    with ring_of(probe) as ring, selectors.DefaultSelector() as selector:
        selector.register(ring.fd, selectors.EVENT_READ)
        for _ in range(7):
            probe.run("send_thing")
        sizes = []
        while selector.select(0):
            sizes.append(len(ring.consume(3)))
        assert sizes == [3, 3, 1]


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BpfError, match=r"gone.o cannot be opened; build it.*ENOENT"):
        BpfObject(tmp_path / "gone.o")


def test_a_file_that_is_no_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.o"
    path.write_text("not ELF")
    with pytest.raises(BpfError, match=r"text.o cannot be opened"):
        BpfObject(path)


def test_an_object_without_type_information_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bare.o"
    subprocess.run(
        [find_clang(), "-target", "bpf", "-O2", "-x", "c", "-c", "-", "-o", path],
        input=b'int x __attribute__((section("license"))) = 5;',
        check=True,
    )
    with pytest.raises((BpfError, BtfError), match=r"bare.o"):
        BpfObject(path)


def test_a_refused_program_says_why_first_and_keeps_the_whole_log() -> None:
    with BpfObject(HERE / "refused.bpf.o") as opened:
        for name, _ in opened.programs:
            if name != "reads_anywhere":
                opened.disable(name)
        with pytest.raises(BpfError) as caught:
            opened.load()
    assert "refused.bpf.o cannot be loaded: EACCES" in str(caught.value)
    assert "unbounded memory access" in str(caught.value)
    assert len(str(caught.value)) < 300
    assert "-- END PROG LOAD LOG --" in caught.value.log


def test_without_privileges_the_hint_says_which(probe: BpfObject) -> None:
    os.seteuid(65534)
    try:
        with pytest.raises(BpfError, match="EPERM") as caught:
            probe.load()
    finally:
        os.seteuid(0)
    assert "CAP_BPF" in caught.value.hint


def test_an_iterator_writes_what_there_is() -> None:
    with BpfObject(HERE / "refused.bpf.o") as opened:
        for name, _ in opened.programs:
            if name != "walks":
                opened.disable(name)
        opened.load()
        assert opened.iterate("walks") == b""
        assert opened.iterate("walks") == b""


def test_closing_gives_every_descriptor_back_and_may_be_repeated() -> None:
    before = open_files()
    opened = BpfObject(PROBE)
    opened.load()
    opened.variable("live")
    ring = RingBuffer(opened.map_fd("events"))
    assert open_files() > before
    for _ in range(2):
        ring.close()
        opened.close()
    assert open_files() == before


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("", ""),
        ("libbpf: a\nlibbpf: b\n", "a"),
        ("libbpf: prog 'x': BPF program load failed: EPERM\n", ""),
        (
            "libbpf: prog 'x': BPF program load failed: Permission denied\n"
            "libbpf: prog 'x': -- BEGIN PROG LOAD LOG --\n"
            "0: R1=ctx()\n; int x @ y.c:3\nR1 invalid mem access 'scalar'\n"
            "processed 5 insns (limit 1)\n-- END PROG LOAD LOG --\n"
            "libbpf: failed to load object\n",
            "R1 invalid mem access 'scalar'",
        ),
        (
            "libbpf: prog 'x': -- BEGIN PROG LOAD LOG --\n"
            "6: (79) r0 = *(u64 *)(r2 +0)\nR2 unbounded memory access\n\n"
            "Verification failed: Memory Safety: Access outside bounds\n\n"
            "Suggestion:\n  Add or adjust a bounds check.\n\n"
            "processed 6 insns (limit 1)\n-- END PROG LOAD LOG --\n",
            "R2 unbounded memory access",
        ),
    ],
)
def test_the_line_that_says_why_is_found(log: str, reason: str) -> None:
    assert summary_of(log) == reason
