"""What kernels offer to BPF programs, as lists: ``python -m tests.vm.offers``.

``make kernel-lists`` boots each kernel, keeps its type information, and writes
``tests/vm/offers/NAME.txt``, in the words of ``needs.py``. A list has what tuners may
come to use: all iterators, helpers and types of maps and programs, tracepoints of the
network, kfuncs, and all fields of the structs of TCP.
"""

from __future__ import annotations

import re
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bpftune.kernel.btf_format import (
    ARRAY,
    CONST,
    DECL_TAG,
    FUNC,
    RESTRICT,
    STRUCT,
    TYPEDEF,
    UNION,
    VOLATILE,
    Type,
    byte_order_of,
    parse,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LISTS = Path(__file__).with_name("offers")
STRUCTS = (
    *("bpf_iter_meta", "dst_entry", "in6_addr", "inet_connection_sock", "inet_sock"),
    *("minmax", "minmax_sample", "net", "netns_ipv4", "ns_common", "nsproxy"),
    *("sock", "sock_common", "tcp_congestion_ops", "tcp_options_received", "tcp_sock"),
)
# Of these, hundreds of fields have nothing to do with what we tune.
FEW = {
    "net_device": {"ifindex", "mtu", "name", "nd_net"},
    "task_struct": {"comm", "nsproxy", "pid", "real_parent", "tgid"},
}
TRACEPOINTS = re.compile(
    r"(balance_dirty|fib|icmp|inet|kfree_skb|mark_victim|napi|neigh|net_|netif_"
    r"|page_pool|qdisc|skb|sock|task_|tcp|udp)"
)

_NAMING_ONLY = {TYPEDEF, CONST, VOLATILE, RESTRICT}
_ITERATOR, _TRACEPOINT = "bpf_iter__", "btf_trace_"
_ENUMERATORS = {
    b"BPF_FUNC_": "helper",
    b"BPF_MAP_TYPE_": "map",
    b"BPF_PROG_TYPE_": "program",
}


def offers_of(btf: bytes) -> set[str]:
    """Return what a kernel with this type information offers."""
    types = parse(btf)
    found = set(_enumerators(btf))
    for one in types:
        if one.kind == TYPEDEF and one.name.startswith(_TRACEPOINT):
            name = one.name.removeprefix(_TRACEPOINT)
            if TRACEPOINTS.match(name):
                found.add(f"tracepoint {name}")
        elif one.kind == STRUCT and one.name.startswith(_ITERATOR):
            found.add(f"iterator {one.name.removeprefix(_ITERATOR)}")
        elif one.kind == STRUCT and one.name in (*STRUCTS, *FEW):
            found |= {
                f"field {one.name}.{path}"
                for path in _paths(types, one)
                if path in FEW.get(one.name, {path})
            }
        elif one.kind == DECL_TAG and one.name == "bpf_kfunc":  # since 6.10
            function = types[one.size]
            if function.kind == FUNC:
                found.add(f"kfunc {function.name}")
    return found


def _enumerators(btf: bytes) -> Iterator[str]:
    """Find the kernel's numbers that have names, among the strings."""
    order = byte_order_of(btf)
    header, _, _, at, length = struct.unpack_from(f"{order}5I", btf, 4)
    for name in btf[header + at : header + at + length].split(b"\0"):
        for prefix, kind in _ENUMERATORS.items():
            if name.startswith(prefix):
                yield f"{kind} {name.removeprefix(prefix).decode()}"


def _paths(types: Sequence[Type], outer: Type, before: str = "") -> Iterator[str]:
    """Give the fields; those of structs without a name as if they were *outer*'s."""
    for member in outer.members:
        path = f"{before}{member.name}"
        inner = types[member.type_id]
        while inner.kind in _NAMING_ONLY or inner.kind == ARRAY:
            inner = types[inner.element if inner.kind == ARRAY else inner.size]
        if inner.kind in (STRUCT, UNION) and not inner.name:
            yield from _paths(types, inner, f"{path}." if member.name else before)
        # A marker of cache lines takes no room.
        elif member.name and not member.name.startswith("__cacheline_group"):
            yield path


def write(kernel: str, release: str, btf: bytes) -> Path:
    """Write the list of *kernel*, a series or ``newest``; return its path."""
    LISTS.mkdir(exist_ok=True)
    path = LISTS / f"{kernel}.txt"
    lines = [f"# Linux {release}. Made by make kernel-lists.", *sorted(offers_of(btf))]
    path.write_text("\n".join(lines) + "\n")
    return path


def read(path: Path) -> set[str]:
    """Return what is on a list."""
    lines = path.read_text().splitlines()
    return {line for line in lines if not line.startswith("#")}


def main(directory: Path) -> int:
    """Write the lists of all kernels whose ``btf`` and ``up`` are in *directory*."""
    for btf in sorted(directory.glob("*/btf")):
        release = (btf.parent / "up").read_text().split()[0]
        print(write(btf.parent.name, release, btf.read_bytes()))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
