"""What BPF objects ask of a kernel, read from the compiled files.

A need is a line of two words: ``tracepoint tcp_destroy_sock``, ``iterator tcp``,
``helper skc_to_tcp_sock``, ``map LRU_HASH``, ``program SOCK_OPS``, ``kfunc NAME`` or
``field tcp_sock.snd_cwnd``. ``offers.py`` lists in the same words what kernels have.
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bpftune.kernel.btf_format import (
    ARRAY,
    CONST,
    DATASEC,
    RESTRICT,
    STRUCT,
    TYPEDEF,
    UNION,
    VOLATILE,
    Type,
    parse,
)

# libbpf-dev has each helper with its number.
HELPER_DEFS = Path("/usr/include/bpf/bpf_helper_defs.h")

_NAMING_ONLY = {TYPEDEF, CONST, VOLATILE, RESTRICT}
_SYMTAB, _FUNC = 2, 2  # sh_type and st_info's type
_CALL, _LOAD_64 = 0x85, 0x18
_HELPER_CALL, _KFUNC_CALL = 0, 2  # src_reg of a call
_FIELD_KINDS = range(6)  # enum bpf_core_relo_kind: BPF_CORE_FIELD_*
_PROGRAMS = {
    "sockops": "SOCK_OPS",
    "cgroup/sysctl": "CGROUP_SYSCTL",
    "tp_btf": "TRACING",
    "iter": "TRACING",
    "syscall": "SYSCALL",
}


class Section(NamedTuple):
    """A section of an ELF file."""

    name: str
    kind: int
    data: bytes


class Function(NamedTuple):
    """A BPF program: where it is in its section, in bytes."""

    name: str
    section: str
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Elf:
    """The parts of a BPF object that tell what it needs."""

    sections: dict[str, Section]
    functions: tuple[Function, ...]
    types: list[Type]


def read_elf(path: Path) -> Elf:
    """Read the sections and functions of a 64-bit little-endian object."""
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError(f"{path} is no 64-bit little-endian ELF file")
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count, names_index = struct.unpack_from("<3H", data, 58)
    raw = [
        struct.unpack_from("<IIQQQQIIQQ", data, table + size * number)
        for number in range(count)
    ]

    def content(header: tuple[int, ...]) -> bytes:
        return data[header[4] : header[4] + header[5]]

    names = content(raw[names_index])
    found = [Section(_text(names, one[0]), one[1], content(one)) for one in raw]
    functions = []
    for header, section in zip(raw, found, strict=True):
        if section.kind != _SYMTAB:
            continue
        strings = content(raw[header[6]])
        for at in range(0, len(section.data), 24):
            name, info, _, index, start, length = struct.unpack_from(
                "<IBBHQQ", section.data, at
            )
            if info & 0xF == _FUNC:
                home = found[index].name
                functions.append(Function(_text(strings, name), home, start, length))
    sections = {section.name: section for section in found}
    return Elf(sections, tuple(functions), parse(sections[".BTF"].data))


def _text(strings: bytes, offset: int) -> str:
    return strings[offset : strings.index(0, offset)].decode()


def helper_names() -> dict[int, str]:
    """Return the names of the helpers, without ``bpf_``, by their numbers."""
    found = re.findall(
        r"\(\*\s*(?:const\s+)?bpf_(\w+)\)\(.*\) = \(void \*\)\s*(\d+);",
        HELPER_DEFS.read_text(),
    )
    return {int(number): name for name, number in found}


def needs_of(path: Path) -> dict[str, set[str]]:
    """Return what each program of the object *path* needs."""
    elf = read_elf(path)
    helpers = helper_names()
    maps = {f"map {name}" for name in map_types(elf)}
    fields = relocated_fields(elf)
    found: dict[str, set[str]] = {}
    for function in elf.functions:
        needs = found.setdefault(function.name, set()) | maps
        needs |= hook_of(function.section)
        code = elf.sections[function.section].data
        needs |= calls(code[function.start : function.start + function.size], helpers)
        needs |= {
            need
            for offset, found_needs in fields.get(function.section, {}).items()
            if function.start <= offset < function.start + function.size
            for need in found_needs
        }
        found[function.name] = needs
    return found


def hook_of(section: str) -> set[str]:
    """Return what a program in the ELF section of this name hangs on."""
    kind, _, target = section.partition("/")
    program = _PROGRAMS.get(section) or _PROGRAMS.get(kind.removesuffix(".s"))
    if program is None:
        raise ValueError(f"SEC({section}) is not known to {__name__}")
    needs = {f"program {program}"}
    if kind == "tp_btf":
        needs.add(f"tracepoint {target}")
    if kind.startswith("iter"):
        needs.add(f"iterator {target}")
    return needs


def calls(code: bytes, helpers: dict[int, str]) -> set[str]:
    """Return the helpers and kfuncs that instructions call."""
    needs = set()
    at = 0
    while at < len(code):
        opcode, registers, _, immediate = struct.unpack_from("<BBhi", code, at)
        at += 16 if opcode == _LOAD_64 else 8
        if opcode != _CALL:
            continue
        if registers >> 4 == _HELPER_CALL:
            needs.add(f"helper {helpers.get(immediate, immediate)}")
        elif registers >> 4 == _KFUNC_CALL:
            needs.add(f"kfunc {immediate}")
    return needs


def map_types(elf: Elf) -> set[str]:
    """Return the types of the object's maps, without ``BPF_MAP_TYPE_``.

    libbpf's ``__uint(type, N)`` is a pointer to an array of N.
    """
    names = dict(
        re.findall(
            r"BPF_MAP_TYPE_(\w+) = (\d+)",
            (Path(__file__).parents[2] / "src/bpftune/bpf/kernel.bpf.h").read_text(),
        )
    )
    by_number = {int(number): name for name, number in names.items()}
    found = {"ARRAY"}  # globals are arrays of one
    for section in elf.types:
        if section.kind != DATASEC or section.name != ".maps":
            continue
        for variable in section.members:
            definition = _resolve(elf.types, elf.types[variable.type_id].size)
            for member in definition.members:
                if member.name == "type":
                    number = elf.types[elf.types[member.type_id].size].length
                    found.add(by_number[number])
    return found


def _resolve(types: list[Type], type_id: int) -> Type:
    found = types[type_id]
    while found.kind in _NAMING_ONLY:
        found = types[found.size]
    return found


def relocated_fields(elf: Elf) -> dict[str, dict[int, set[str]]]:
    """Return the fields that CO-RE relocates, by section and offset in it.

    They are in ``.BTF.ext``, see libbpf's ``struct bpf_core_relo``.
    """
    data, btf = elf.sections[".BTF.ext"].data, elf.sections[".BTF"].data
    header = struct.unpack_from("<I", data, 4)[0]
    at, length = struct.unpack_from("<2I", data, 24)
    at += header
    end = at + length
    btf_header, _, _, names_at, _ = struct.unpack_from("<5I", btf, 4)
    names = btf[btf_header + names_at :]
    (size,) = struct.unpack_from("<I", data, at)
    at += 4
    found: dict[str, dict[int, set[str]]] = defaultdict(dict)
    while at < end:
        section, count = struct.unpack_from("<2I", data, at)
        at += 8
        for _ in range(count):
            offset, type_id, access, kind = struct.unpack_from("<4I", data, at)
            at += size
            if kind in _FIELD_KINDS:
                steps = _text(names, access)
                found[_text(names, section)][offset] = path_needs(
                    elf.types, type_id, steps
                )
    return found


def path_needs(types: list[Type], type_id: int, access: str) -> set[str]:
    """Return the needs of one access, such as ``0:3:1`` from a ``tcp_sock``.

    The first number counts whole objects. A struct with a name begins a need of its
    own, one without continues that of the struct around it. What follows ``___`` in
    a name is not compared.
    """
    needs = set()
    here = _resolve(types, type_id)
    base, path = here.name.partition("___")[0], ""
    for step in map(int, access.split(":")[1:]):
        if here.kind == ARRAY:
            here = _resolve(types, here.element)
        elif here.kind in (STRUCT, UNION):
            member = here.members[step]
            path += f".{member.name}" if member.name else ""
            here = _resolve(types, member.type_id)
        inner = here
        while inner.kind == ARRAY:
            inner = _resolve(types, inner.element)
        is_struct = inner.kind in (STRUCT, UNION)
        if path and not (is_struct and not inner.name):
            needs.add(f"field {base}{path}")
        if is_struct and inner.name:
            base, path = inner.name.partition("___")[0], ""
    return needs
