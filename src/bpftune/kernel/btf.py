"""Decode what BPF programs send by the type information they carry.

The layout of an event is written once, in C. Its Python dataclass is compared
with it when the object is opened, so a field that was renamed, moved or
retyped on one side only is an error at start-up instead of garbage later.
"""

from __future__ import annotations

import dataclasses
import re
import struct
import sys
from collections.abc import Callable
from itertools import repeat
from operator import call
from types import MemberDescriptorType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from bpftune import model
from bpftune.kernel.btf_format import (
    AMBIGUOUS,
    ARRAY,
    BOOL,
    CONST,
    DATASEC,
    ENUM,
    ENUM64,
    FLOAT,
    INT,
    PTR,
    RESTRICT,
    SIGNED,
    STRUCT,
    TYPE_TAG,
    TYPEDEF,
    UNION,
    VAR,
    VOLATILE,
    BtfError,
    Member,
    Type,
    byte_order_of,
    parse,
)

__all__ = ["Btf", "BtfError", "Member"]

T = TypeVar("T")

_NAMING_ONLY = {TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG}
_SCALARS = {INT, ENUM, ENUM64}
_KIND_NAMES = {PTR: "a pointer", UNION: "a union", FLOAT: "a float"}
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
_MAX_ARRAY = 4096
_MAX_DEPTH = 16

Build = Callable[[tuple[Any, ...]], Any]
Layout = tuple[str, Build | None]


class Btf:
    """The types in one BPF object."""

    def __init__(self, data: bytes) -> None:
        """Parse *data*, what a ``.BTF`` section holds. Raises BtfError."""
        self._order = byte_order_of(data)
        self._types = parse(data)
        self._structs = {
            found.name: type_id
            for type_id, found in reversed(list(enumerate(self._types)))
            if found.kind == STRUCT and found.name
        }

    # --- lookups -------------------------------------------------------------

    def size_of(self, struct_name: str) -> int:
        """Return the size in bytes of ``struct struct_name``."""
        return self._types[self._struct(struct_name)].size

    def size(self, type_id: int) -> int:
        """Return the size in bytes of a struct by its id."""
        return self._type(type_id).size

    def members_of(self, struct_name: str) -> tuple[Member, ...]:
        """Return the fields of ``struct struct_name`` in order."""
        return self._types[self._struct(struct_name)].members

    def variables(self, section: str) -> dict[str, tuple[int, int]]:
        """Return offset and size in bytes of each global in ``.bss`` and such.

        The offsets are those of the linked object only in BTF that libbpf has
        opened; in the file they are 0.
        """
        found: dict[str, tuple[int, int]] = {}
        for type_ in self._types:
            if type_.kind == DATASEC and type_.name == section:
                for _, type_id, bit_offset, size in type_.members:
                    variable = self._type(type_id)
                    # Format strings live in .rodata as function.___fmt.
                    if variable.kind == VAR and variable.name.isidentifier():
                        found[variable.name] = bit_offset // 8, size
        return found

    def _struct(self, name: str) -> int:
        try:
            return self._structs[name]
        except KeyError:
            msg = (
                f"no struct {name} in the BPF object's type information; it must "
                "be there under that name, and be emitted or used in a global"
            )
            raise BtfError(msg) from None

    def _type(self, type_id: int) -> Type:
        if type_id >= len(self._types):
            msg = f"the type information (BTF) is damaged: no type {type_id}"
            raise BtfError(msg)
        return self._types[type_id]

    def _resolve(self, type_id: int) -> Type:
        found = self._type(type_id)
        for _ in range(_MAX_DEPTH):
            if found.kind not in _NAMING_ONLY:
                return found
            found = self._type(found.size)
        msg = "the type information (BTF) is damaged: a type names itself"
        raise BtfError(msg)

    # --- decoding ------------------------------------------------------------

    def decoder(self, cls: type[T]) -> tuple[int, Callable[[bytes, int], T]]:
        """Return the type id of *cls*'s struct and a function to decode it.

        The function takes bytes and an offset, and raises ``struct.error`` if
        fewer bytes are there than the struct has. Raises BtfError if *cls* and
        the struct of its name (``SocketSample``: ``struct socket_sample``)
        differ in the names, order or types of their fields.
        """
        type_id, text, build = self.format_of(cls)
        unpack = struct.Struct(text).unpack_from
        return type_id, lambda data, offset: build(unpack(data, offset))

    def format_of(self, cls: type[Any]) -> tuple[int, str, Build]:
        """Return the type id of *cls*'s struct, its format and what makes a *cls*.

        The format is for ``struct``; a *cls* is made of the values that it yields.
        Raises BtfError as ``decoder`` does.
        """
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
        type_id = self._struct(name)
        text, build = self._layout(cls, self._types[type_id], 0)
        return type_id, self._order + text, build or _maker(cls)

    def _layout(self, cls: type[Any], found: Type, depth: int) -> Layout:
        """Give the struct format of *found* and, if not flat, a builder."""
        if depth > _MAX_DEPTH:
            msg = f"struct {found.name} is nested too deeply"
            raise BtfError(msg)
        hints = _field_types(cls)
        theirs = [member.name for member in found.members]
        if list(hints) != theirs:
            msg = (
                f"{cls.__name__} has the fields {', '.join(hints)}; struct "
                f"{found.name} has {', '.join(theirs)}: they must be the same, "
                "in the same order"
            )
            raise BtfError(msg)
        text, at, slot = "", 0, 0
        pieces: list[tuple[int, int, Build | None]] = []
        for member in found.members:
            where = f"{found.name}.{member.name}"
            if member.bits or member.bit_offset % 8:
                msg = f"{where} is a bitfield; use a whole integer in events"
                raise BtfError(msg)
            offset = member.bit_offset // 8
            code, size, slots, build = self._field(
                where, hints[member.name], self._resolve(member.type_id), depth
            )
            if offset < at:
                msg = f"{where} overlaps the field before it"
                raise BtfError(msg)
            text += f"{offset - at}x{code}" if offset > at else code
            pieces.append((slot, slot + slots, build))
            at, slot = offset + size, slot + slots
        if at > found.size:
            msg = f"struct {found.name} is shorter than its fields"
            raise BtfError(msg)
        text += f"{found.size - at}x" if found.size > at else ""
        if all(build is None and stop - start == 1 for start, stop, build in pieces):
            return text, None
        make = _maker(cls)
        return text, lambda values: make(
            tuple(
                values[start] if build is None else build(values[start:stop])
                for start, stop, build in pieces
            )
        )

    def _field(
        self, where: str, hint: Any, found: Type, depth: int
    ) -> tuple[str, int, int, Build | None]:
        """Give format, bytes, values taken from it, and how to build one."""
        if found.kind in _SCALARS:
            code = self._scalar(where, found)
            _agree(where, hint, bool if code == "?" else int)
            return code, found.size, 1, None
        if found.kind == ARRAY:
            return self._array(where, hint, found)
        if found.kind == STRUCT:
            if not (isinstance(hint, type) and dataclasses.is_dataclass(hint)):
                msg = f"{where} is struct {found.name}; annotate it with a dataclass"
                raise BtfError(msg)
            text, build = self._layout(hint, found, depth + 1)
            slots = _slots(text)
            return text, found.size, slots, build or _maker(hint)
        kind = _KIND_NAMES.get(found.kind, f"of a kind ({found.kind})")
        msg = f"{where} is {kind}, which cannot be in an event"
        raise BtfError(msg)

    def _array(
        self, where: str, hint: Any, found: Type
    ) -> tuple[str, int, int, Build | None]:
        element = self._resolve(found.element)
        if element.kind not in _SCALARS or not (0 < found.length <= _MAX_ARRAY):
            msg = f"{where}: an array has 1 to {_MAX_ARRAY} integers, and nothing else"
            raise BtfError(msg)
        code = self._scalar(where, element)
        size = element.size * found.length
        if code in "bB":
            _agree(where, hint, bytes)
            return f"{size}s", size, 1, None
        _agree(where, hint, tuple[bool, ...] if code == "?" else tuple[int, ...])
        return f"{found.length}{code}", size, found.length, tuple

    def _scalar(self, where: str, found: Type) -> str:
        if found.encoding & BOOL and found.size == 1:
            return "?"
        if found.encoding & AMBIGUOUS:
            msg = f"{where}: the sign of enum {found.name} is unknown; use an integer"
            raise BtfError(msg)
        code = _CODES.get(found.size)
        if code is None:
            msg = f"{where} has an integer of {found.size} bytes"
            raise BtfError(msg)
        return code.lower() if found.encoding & SIGNED else code


def _maker(cls: type[Any]) -> Build:
    """Return what makes a *cls* of its fields' values, in order."""
    slots = [getattr(cls, field.name, None) for field in dataclasses.fields(cls)]
    if hasattr(cls, "__post_init__") or not all(
        isinstance(slot, MemberDescriptorType) for slot in slots
    ):
        return lambda values: cls(*values)
    # A third quicker than __init__ of a frozen dataclass.
    setters = [slot.__set__ for slot in slots if slot is not None]
    new = object.__new__

    def make(values: tuple[Any, ...]) -> Any:
        made = new(cls)
        # A setter returns None: any() calls them all, without a loop here.
        any(map(call, setters, repeat(made), values))
        return made

    return make


def _slots(text: str) -> int:
    """Count the values that a struct format yields."""
    return sum(
        1 if code == "s" else 0 if code == "x" else int(count or 1)
        for count, code in re.findall(r"(\d*)(\D)", text)
    )


def _field_types(cls: type[Any]) -> dict[str, Any]:
    """Return the types of a dataclass's fields, in order.

    Names that a module imports for type checkers only are looked up in
    ``bpftune.model``, where the shared ones are.
    """
    if not dataclasses.is_dataclass(cls):
        msg = f"{cls.__name__} is not a dataclass"
        raise BtfError(msg)
    own = vars(sys.modules.get(cls.__module__, model))
    try:
        hints = get_type_hints(cls, localns={**vars(model), **own})
    except NameError as error:
        msg = f"{cls.__name__}: {error}; import it outside of TYPE_CHECKING"
        raise BtfError(msg) from None
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _agree(where: str, hint: Any, wanted: Any) -> None:
    """Raise BtfError unless the annotation *hint* is for *wanted*."""
    while hasattr(hint, "__supertype__"):  # typing.NewType
        hint = hint.__supertype__
    if get_origin(hint) is tuple:
        hint = (tuple, get_args(hint))
    if get_origin(wanted) is tuple:
        wanted = (tuple, get_args(wanted))
    if hint != wanted:
        name = getattr(wanted, "__name__", None) or "tuple[int, ...]"
        msg = f"{where}: annotate it with {name}, not {hint}"
        raise BtfError(msg)
