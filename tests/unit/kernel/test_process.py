from __future__ import annotations

import gc
import os
import weakref
from pathlib import Path

from tests.leftovers import in_cycles

from bpftune.kernel import process

MIB = 1 << 20


def test_memory_is_what_the_kernel_says() -> None:
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
    kib = int(line.split()[1])
    assert abs(process.rss_bytes() - kib * 1024) < 4 * MIB


def test_counts_pages_of_the_size_that_they_have(tmp_path: Path) -> None:
    (tmp_path / "statm").write_text("5000 1234 200 1 0 900 0\n")
    assert process.rss_bytes(tmp_path) == 1234 * os.sysconf("SC_PAGESIZE")


def test_processor_time_grows_with_work() -> None:
    before = process.cpu_seconds()
    while process.cpu_seconds() < before + 0.01:
        sum(range(1000))
    assert process.cpu_seconds() > before


def test_counts_descriptors() -> None:
    before = process.open_files()
    fd = os.open("/dev/null", os.O_RDONLY)
    assert process.open_files() == before + 1
    os.close(fd)


def test_adds_up_each_map_once(tmp_path: Path) -> None:
    files = tmp_path / "fdinfo"
    files.mkdir()
    map_text = "pos:\t0\nmap_type:\t1\nmemlock:\t{}\nmap_id:\t{}\n"
    (files / "3").write_text(map_text.format(4096, 7))
    (files / "4").write_text(map_text.format(4096, 7))
    (files / "5").write_text(map_text.format(100, 8))
    (files / "6").write_text("pos:\t0\nprog_type:\t2\nmemlock:\t999\nprog_id:\t1\n")
    (files / "7").write_text("link_type:\titer\nmap_id:\t8\n")
    (files / "8").write_text("nothing\n")
    assert process.maps_bytes(tmp_path) == 4196


def test_trimming_leaves_no_garbage() -> None:
    assert in_cycles(process.trim_heap) == 0


def test_what_the_interpreter_kept_is_given_back() -> None:
    process.give_memory_back()
    before = process.python_blocks()
    # One that grows to its length comes from the system, and goes to those kept.
    for length in range(4, 12):
        many = [tuple(iter(range(length))) for _ in range(1500)]
        del many
    process.give_memory_back()
    assert process.python_blocks() < before + 100


def test_what_is_permanent_is_not_collected_and_the_rest_is() -> None:
    class Knot:
        def __init__(self) -> None:
            self.itself = self

    there = Knot()
    process.spare_collections()
    try:
        assert gc.get_freeze_count() > 1000
        left = weakref.ref(Knot())
        del there
        process.give_memory_back()
        assert left() is None
    finally:
        gc.unfreeze()


def test_no_map_is_no_number(tmp_path: Path) -> None:
    (tmp_path / "fdinfo").mkdir()
    assert process.maps_bytes(tmp_path) is None
