"""All that our BPF programs hang on and read, against lists of what kernels have."""

from __future__ import annotations

from pathlib import Path

import pytest

import bpftune
from bpftune.compile import compile_all
from bpftune.tuners import discover
from tests.vm import needs, offers
from tests.vm.kernels import KERNELS
from tests.vm.needs import needs_of

PACKAGE = Path(bpftune.__file__).parent
EXAMPLES = PACKAGE.parents[1] / "examples"

# What a kernel lacks costs a program, and its tuner says what is lost with it.
WITHOUT_GROW = {"tcp_buffer.watch_receivers": {"tracepoint tcp_rcvbuf_grow"}}
LACKING = {"6.1": WITHOUT_GROW, "6.12": WITHOUT_GROW}


@pytest.fixture(scope="module")
def programs() -> dict[str, set[str]]:
    """Return the needs of every program, by ``object.program``."""
    if not needs.HELPER_DEFS.exists():
        pytest.skip("libbpf's headers are missing")
    found = {}
    for directory in (PACKAGE, EXAMPLES):
        compile_all(directory)
        for path in directory.rglob("*.bpf.o"):
            for name, wanted in needs_of(path).items():
                found[f"{path.name.partition('.')[0]}.{name}"] = wanted
    return found


def test_each_kernel_has_a_list() -> None:
    assert {path.stem for path in offers.LISTS.glob("*.txt")} == set(KERNELS)


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_have_what_programs_need(
    kernel: str, programs: dict[str, set[str]]
) -> None:
    has = offers.read(offers.LISTS / f"{kernel}.txt")
    lacking = {name: wanted - has for name, wanted in programs.items() if wanted - has}
    assert lacking == LACKING.get(kernel, {}), (
        "either this kernel lacks it, or its list was made before tests.vm.offers "
        "knew of it: make kernel-lists"
    )


def test_tuners_say_what_is_lost_without_a_program() -> None:
    found, problems = discover()
    assert not problems
    losses = {f"{tuner.name}.{program}" for tuner in found for program in tuner.losses}
    lacking = {name for of_kernel in LACKING.values() for name in of_kernel}
    assert lacking <= losses


def test_needs_are_read_from_the_programs(programs: dict[str, set[str]]) -> None:
    assert programs["tcp_buffer.watch_receivers"] >= {
        "program TRACING",
        "tracepoint tcp_rcvbuf_grow",
        "helper skc_to_tcp_sock",
        "map RINGBUF",
        "field tcp_sock.rtt_min",
        "field minmax_sample.v",
        "field netns_ipv4.sysctl_tcp_rmem",
    }
    assert programs["sockets.sample_marked"] >= {
        "iterator bpf_sk_storage_map",
        "map SK_STORAGE",
        "field tcp_sock.rcv_rtt_est.rtt_us",
        "field inet_connection_sock.icsk_ca_state",
    }
    # What one program reads is not charged to another of the same section.
    assert "field tcp_sock.chrono_stat" not in programs["sockets.nudge_receivers"]
    assert programs["sysctl.see_write"] >= {
        "program CGROUP_SYSCTL",
        "helper sysctl_get_name",
        "field nsproxy.net_ns",
    }
    assert programs["ports.see_no_port"] >= {
        "tracepoint inet_sock_set_state",
        "field inet_sock.inet_sport",
        "field sock.sk_err",
    }


def test_calls_are_told_apart() -> None:
    load = bytes([0x18, 1, 0, 0, 0x85, 0, 0, 0]) + bytes(8)  # data, not a call
    helper = bytes([0x85, 0, 0, 0, 5, 0, 0, 0])
    local = bytes([0x85, 1 << 4, 0, 0, 6, 0, 0, 0])
    kfunc = bytes([0x85, 2 << 4, 0, 0, 7, 0, 0, 0])
    names = {5: "ktime_get_ns"}
    assert needs.calls(load + helper + local + kfunc, names) == {
        "helper ktime_get_ns",
        "kfunc 7",
    }


def test_an_unknown_hook_is_an_error() -> None:
    assert needs.hook_of("iter.s/task") == {"program TRACING", "iterator task"}
    with pytest.raises(ValueError, match=r"SEC\(xdp\)"):
        needs.hook_of("xdp")
