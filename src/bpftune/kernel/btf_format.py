"""The binary format of BTF, the kernel's type information, read into values.

See the kernel's ``Documentation/bpf/btf.rst``.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from bpftune.kernel.errors import KernelError

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD = range(1, 8)
TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO = range(8, 14)
VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(14, 20)

SIGNED, CHAR, BOOL = 1, 2, 4
"""Bits of an integer's encoding."""

AMBIGUOUS = 16
"""Encoding of an enum that is large or negative: old compilers do not tell."""

_AFTER_TYPE = {INT: 4, ARRAY: 12, VAR: 4, DECL_TAG: 4}
_PER_MEMBER = {STRUCT: 12, UNION: 12, ENUM: 8, FUNC_PROTO: 8, DATASEC: 12, ENUM64: 12}


class BtfError(KernelError):
    """Type information is broken, or C and Python disagree about a type."""


class Member(NamedTuple):
    """A field of a struct, or a variable of a section.

    *bits* is the size of a bitfield, or 0. Of a variable, *name* is empty and
    *bits* its size.
    """

    name: str
    type_id: int
    bit_offset: int
    bits: int


class Type(NamedTuple):
    """A type, *size* bytes long.

    If it only names another one (typedef, const ...), *size* is that type's id.
    *encoding* is an integer's; *element* (a type id) and *length* an array's.
    """

    kind: int
    name: str
    size: int
    members: tuple[Member, ...] = ()
    encoding: int = 0
    element: int = 0
    length: int = 0


def byte_order_of(data: bytes) -> str:
    """Return ``<`` or ``>``, as for ``struct``. Raises BtfError."""
    try:
        return {b"\x9f\xeb": "<", b"\xeb\x9f": ">"}[data[:2]]
    except KeyError:
        msg = f"not BTF: it begins with {data[:2].hex() or 'nothing'}, not 9feb"
        raise BtfError(msg) from None


def parse(data: bytes) -> list[Type]:
    """Return the types in *data*; a type's id is its index. Raises BtfError."""
    order = byte_order_of(data)
    try:
        header, type_off, type_len, str_off, str_len = struct.unpack_from(
            f"{order}4x5I", data
        )
        types = data[header + type_off : header + type_off + type_len]
        names = data[header + str_off : header + str_off + str_len]
        return _Parser(order, types, names).all(type_len, str_len)
    except (struct.error, ValueError) as error:
        msg = f"the type information (BTF) is cut short or damaged: {error}"
        raise BtfError(msg) from None


class _Parser:
    def __init__(self, order: str, types: bytes, names: bytes) -> None:
        self._types, self._names = types, names
        self._word = struct.Struct(f"{order}I").unpack_from
        self._three = struct.Struct(f"{order}3I").unpack_from

    def all(self, type_len: int, str_len: int) -> list[Type]:
        if (len(self._types), len(self._names)) != (type_len, str_len):
            raise ValueError("a section reaches beyond the end")
        found, pos = [Type(0, "void", 0)], 0
        while pos < len(self._types):
            name, info, size = self._three(self._types, pos)
            kind, count = info >> 24 & 0x1F, info & 0xFFFF
            if not INT <= kind <= ENUM64:
                raise ValueError(f"kind {kind} is unknown")
            after = pos + 12
            pos = after + _AFTER_TYPE.get(kind, 0) + count * _PER_MEMBER.get(kind, 0)
            if pos > len(self._types):
                raise ValueError("the last type is incomplete")
            found.append(self._one(kind, name, size, after, (info >> 31, count)))
        return found

    def _one(
        self, kind: int, name_off: int, size: int, at: int, flags: tuple[int, int]
    ) -> Type:
        name, (flag, count) = self._name(name_off), flags
        if kind == INT:
            (word,) = self._word(self._types, at)
            # An integer of fewer bits than its bytes is an old clang's bitfield.
            whole = not word >> 16 & 0xFF and word & 0xFF == size * 8
            return Type(kind, name, size if whole else 0, encoding=word >> 24 & 0xF)
        if kind == ARRAY:
            element, _, length = self._three(self._types, at)
            return Type(kind, name, 0, element=element, length=length)
        if kind in (ENUM, ENUM64):
            encoding = SIGNED if flag else self._sign(kind, at, count)
            return Type(kind, name, size, encoding=encoding)
        if kind not in (STRUCT, UNION, DATASEC):
            return Type(kind, name, size)
        members = []
        for pos in range(at, at + 12 * count, 12):
            first, second, third = self._three(self._types, pos)
            if kind == DATASEC:
                members.append(Member("", first, second * 8, third))
            else:
                bits = third >> 24 if flag else 0
                offset = third & 0xFFFFFF if flag else third
                members.append(Member(self._name(first), second, offset, bits))
        return Type(kind, name, size, tuple(members))

    def _sign(self, kind: int, at: int, count: int) -> int:
        # Older compilers set no flag for a signed enum.
        words = range(at + 4, at + 8 * count, 8) if kind == ENUM else ()
        negative = any(self._word(self._types, pos)[0] >> 31 for pos in words)
        return AMBIGUOUS if negative else 0

    def _name(self, offset: int) -> str:
        return self._names[offset : self._names.index(0, offset)].decode()
