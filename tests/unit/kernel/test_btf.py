"""Decoding by BTF: made by clang, and made by hand."""

from __future__ import annotations

import ctypes
import dataclasses
import shutil
import struct
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NewType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpftune.compile import find_clang
from bpftune.kernel.btf import Btf, BtfError
from bpftune.kernel.btf_encode import encoder
from bpftune.kernel.errors import KernelError
from bpftune.model import Event, Prefix, SocketSample

needs_clang = pytest.mark.skipif(
    shutil.which("clang") is None, reason="there is no clang to make BTF"
)


def section(elf: bytes, wanted: str) -> bytes:
    """Return a section of a 64-bit little-endian ELF file."""
    (headers,) = struct.unpack_from("<Q", elf, 40)
    size, count, names_at = struct.unpack_from("<HHH", elf, 58)
    rows = [
        struct.unpack_from("<IIQQQQ", elf, headers + size * i) for i in range(count)
    ]
    names = rows[names_at][4]
    for name, _, _, _, offset, length in rows:
        start = names + name
        if elf[start : elf.index(0, start)].decode() == wanted:
            return elf[offset : offset + length]
    raise AssertionError(f"no section {wanted}")


_FLAGS = ["-x", "c", "-O2", "-g", "-target", "bpf", "-c", "-", "-o"]


@cache
def compiled(c_source: str) -> bytes:
    """Return the BTF of *c_source*."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "x.o")
        subprocess.run(
            [
                find_clang(),
                *["-x", "c", "-O2", "-g", "-target", "bpf", "-c", "-", "-o"],
                path,
            ],
            input=c_source.encode(),
            check=True,
        )
        return section(path.read_bytes(), ".BTF")


Cookie = NewType("Cookie", int)


@dataclass(frozen=True)
class Inner:
    small: int
    flag: bool


@dataclass(frozen=True, slots=True)
class AllKinds(Event):
    small: int
    negative: int
    colour: int
    wide: int
    comm: bytes
    ports: tuple[int, ...]
    signed_many: tuple[int, ...]
    inner: Inner
    flag: bool
    prefix: Prefix
    cookie: Cookie


ALL_KINDS = """
typedef unsigned long long u64;
typedef const volatile u64 cookie_t;
enum colour { RED, GREEN = 1000 };
struct inner { unsigned char small; _Bool flag; };
struct prefix { unsigned short family, length; unsigned char address[16]; };
struct all_kinds {
    u64 netns_cookie;
    unsigned char small;
    long long negative;
    enum colour colour;
    short wide;
    char comm[5];
    unsigned short ports[3];
    int signed_many[2];
    struct inner inner;
    _Bool flag;
    struct prefix prefix;
    cookie_t cookie;
} all_kinds;
"""


@needs_clang
def test_every_kind_of_field_is_decoded() -> None:
    btf = Btf(compiled(ALL_KINDS))
    type_id, decode = btf.decoder(AllKinds)
    body = struct.pack(
        "<QB7xqih5sx3H2x2iBB?xHH16s4xQ",
        *(1, 255, -2, 1000, -3, b"ab\0\0c", 1, 2, 65535, -7, 8, 9, 1, True),
        *(2, 24, bytes(range(16)), 2**64 - 1),
    )
    assert btf.size_of("all_kinds") == len(body)
    made = decode(b"head" + body, 4)
    assert made == AllKinds(
        netns_cookie=1,  # type: ignore[arg-type]
        small=255,
        negative=-2,
        colour=1000,
        wide=-3,
        comm=b"ab\0\0c",
        ports=(1, 2, 65535),
        signed_many=(-7, 8),
        inner=Inner(9, True),
        flag=True,
        prefix=Prefix(2, 24, bytes(range(16))),
        cookie=Cookie(2**64 - 1),
    )
    assert type_id > 0
    assert btf.size(type_id) == len(body)
    assert encoder(btf, AllKinds)(made) == body
    with pytest.raises(struct.error):
        decode(body[:-1], 0)


FIELDS: dict[str, tuple[str, str, Any]] = {
    "unsigned char %s": ("u8", "int", ctypes.c_uint8),
    "signed char %s": ("s8", "int", ctypes.c_int8),
    "unsigned short %s": ("u16", "int", ctypes.c_uint16),
    "short %s": ("s16", "int", ctypes.c_int16),
    "unsigned int %s": ("u32", "int", ctypes.c_uint32),
    "int %s": ("s32", "int", ctypes.c_int32),
    "unsigned long long %s": ("u64", "int", ctypes.c_uint64),
    "long long %s": ("s64", "int", ctypes.c_int64),
    "char %s[7]": ("text", "bytes", ctypes.c_uint8 * 7),
    "unsigned short %s[3]": ("u16s", "tuple[int, ...]", ctypes.c_uint16 * 3),
    "long long %s[2]": ("s64s", "tuple[int, ...]", ctypes.c_int64 * 2),
}


@needs_clang
@settings(max_examples=30)
@given(st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=20), st.data())
def test_structs_are_decoded_as_c_lays_them_out(
    kinds: list[str], data: st.DataObject
) -> None:
    names = [f"f{n}" for n in range(len(kinds))]
    body = "; ".join(kind % name for kind, name in zip(kinds, names, strict=True))
    btf = Btf(compiled(f"struct made {{ {body}; }} made;"))
    cls = dataclasses.make_dataclass(
        "Made", [(n, FIELDS[k][1]) for n, k in zip(names, kinds, strict=True)]
    )
    oracle: Any = type(
        "Oracle",
        (ctypes.Structure,),
        {"_fields_": [(n, FIELDS[k][2]) for n, k in zip(names, kinds, strict=True)]},
    )
    size = ctypes.sizeof(oracle)
    assert btf.size_of("made") == size
    raw = data.draw(st.binary(min_size=size, max_size=size))
    wanted = oracle.from_buffer_copy(raw)
    decode: Any = btf.decoder(cls)[1]
    decoded = decode(raw, 0)
    encoded = encoder(btf, cls)(decoded)
    assert len(encoded) == size
    assert decode(encoded, 0) == decoded
    for name, kind in zip(names, kinds, strict=True):
        value = getattr(wanted, name)
        if FIELDS[kind][1] != "int":
            value = (bytes if "char" in kind else tuple)(value)
        assert getattr(decoded, name) == value


def refused(c_struct: str, message: str, **fields: Any) -> None:
    btf = Btf(compiled(f"struct made {{ {c_struct} }} made;"))
    with pytest.raises(BtfError, match=message):
        btf.decoder(dataclasses.make_dataclass("Made", list(fields.items())))


@needs_clang
def test_what_cannot_be_in_an_event_is_refused() -> None:
    refused("int a : 3;", "made.a is a bitfield", a=int)
    refused("int *a;", "made.a is a pointer", a=int)
    refused("union { int x; long y; } a;", "made.a is a union", a=int)
    refused("int a[2][2];", "an array has 1 to 4096 integers", a=tuple[int, ...])
    refused("int a[0];", "an array has 1 to 4096 integers", a=tuple[int, ...])
    refused("int *a[2];", "an array has 1 to 4096 integers", a=tuple[int, ...])
    refused("float a;", "a float", a=int)
    refused("__int128 a;", "integer of 16 bytes", a=int)


def enum_type(flag: int, value: int) -> bytes:
    return handmade(
        struct.pack("<3I", 1, 6 << 24 | 1 | flag << 31, 4)
        + struct.pack("<2I", 6, value & 0xFFFFFFFF)
        + struct.pack("<6I", 1, 4 << 24 | 1, 4, 8, 1, 0),
        b"\0made\0A\0a\0",
    )


def test_enums_have_a_sign_where_it_can_be_told() -> None:
    cls = dataclasses.make_dataclass("Made", [("a", int)])
    minus_one = struct.pack("<i", -1)
    for flag, value, wanted in ((1, -1, -1), (1, 5, -1), (0, 5, 2**32 - 1)):
        made: Any = Btf(enum_type(flag, value)).decoder(cls)[1](minus_one, 0)
        assert made.a == wanted
    # In older compilers a negative value and a large one look the same.
    with pytest.raises(BtfError, match=r"made.a: .* sign"):
        Btf(enum_type(0, -1)).decoder(cls)


@needs_clang
def test_fields_must_have_the_same_names_in_the_same_order() -> None:
    refused("int a; int b;", "Made has the fields b, a; .* made has a, b", b=int, a=int)
    refused("int a; int b;", "Made has the fields a; ", a=int)
    refused("int a;", "Made has the fields a, b; ", a=int, b=int)


@needs_clang
def test_annotations_must_fit() -> None:
    refused("int a;", r"made.a: annotate it with int, not .*bytes", a=bytes)
    refused("int a;", r"made.a: annotate it with int", a=bool)
    refused("_Bool a;", r"made.a: annotate it with bool", a=int)
    refused("char a[4];", r"made.a: annotate it with bytes", a=str)
    refused("int a[4];", r"made.a: annotate it with tuple\[int, ...\]", a=bytes)
    refused("int a[4];", r"made.a: annotate it with tuple", a=tuple[int, int])
    refused("struct x { int i; } a;", r"made.a is struct x; annotate it with a", a=int)
    refused("struct x { int i; } a;", "fields small, flag; struct x has i", a=Inner)


@needs_clang
def test_a_missing_struct_and_a_class_that_is_none_are_refused() -> None:
    btf = Btf(compiled("struct other { int a; } other; int plain;"))
    with pytest.raises(BtfError, match="no struct inner"):
        btf.decoder(Inner)
    with pytest.raises(BtfError, match="no struct plain"):
        btf.size_of("plain")
    with pytest.raises(BtfError, match="Other is not a dataclass"):
        btf.decoder(type("Other", (), {}))


@needs_clang
def test_names_for_type_checkers_only_are_found_in_the_model() -> None:
    cls = dataclasses.make_dataclass("Made", [("p", "Prefix"), ("c", "NetnsCookie")])
    cls.__module__ = "builtins"
    body = "struct prefix { short family, length; unsigned char address[16]; } p; "
    btf = Btf(compiled(f"struct made {{ {body} unsigned long long c; }} made;"))
    made: Any = btf.decoder(cls)[1](bytes(32), 0)
    assert made == cls(Prefix(0, 0, bytes(16)), 0)
    lost = dataclasses.make_dataclass("Made", [("p", "Nowhere"), ("c", "int")])
    with pytest.raises(BtfError, match=r"Nowhere.*outside of TYPE_CHECKING"):
        btf.decoder(lost)


@needs_clang
def test_members_are_listed() -> None:
    btf = Btf(compiled("struct made { char a; int b : 3; long c; } made;"))
    assert [(m.name, m.bit_offset, m.bits) for m in btf.members_of("made")] == [
        ("a", 0, 0),
        ("b", 8, 3),
        ("c", 64, 0),
    ]


# --- by hand -------------------------------------------------------------------


def handmade(types: bytes, names: bytes, order: str = "<") -> bytes:
    return (
        struct.pack(
            f"{order}HBBI4I", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(names)
        )
        + types
        + names
    )


NAMES = b"\0inner\0small\0flag\0u8\0_Bool\0.bss\0live\0fn.fmt\0"


def name(text: bytes) -> int:
    return NAMES.index(text + b"\0")


def inner_types(order: str) -> bytes:
    pack: Callable[..., bytes] = lambda *words: struct.pack(  # noqa: E731
        f"{order}{len(words)}I", *words
    )
    return (
        pack(name(b"u8"), 1 << 24, 1, 8)
        + pack(name(b"_Bool"), 1 << 24, 1, 4 << 24 | 8)
        + pack(name(b"inner"), 4 << 24 | 2, 2)
        + pack(name(b"small"), 1, 0)
        + pack(name(b"flag"), 2, 8)
        + pack(name(b"live"), 14 << 24, 1, 1)
        + pack(name(b"fn.fmt"), 14 << 24, 1, 1)
        + pack(name(b".bss"), 15 << 24 | 2, 8)
        + pack(4, 4, 1)
        + pack(5, 5, 3)
    )


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_are_read(order: str) -> None:
    btf = Btf(handmade(inner_types(order), NAMES, order))
    type_id, decode = btf.decoder(Inner)
    assert (type_id, decode(b"\x09\x01", 0)) == (3, Inner(9, True))


def test_globals_are_listed_but_not_format_strings() -> None:
    btf = Btf(handmade(inner_types("<"), NAMES))
    assert btf.variables(".bss") == {"live": (4, 1)}
    assert btf.variables(".data") == {}


WHOLE = handmade(inner_types("<"), NAMES)


def all_uses(data: bytes) -> None:
    btf = Btf(data)
    btf.variables(".bss")
    btf.decoder(Inner)


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_truncated_type_information_is_an_error_of_ours(length: int) -> None:
    with pytest.raises(BtfError):
        Btf(WHOLE[:length])


@settings(max_examples=500)
@given(
    st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1)
)
def test_damaged_type_information_is_an_error_of_ours_or_none(
    changes: list[tuple[int, int]],
) -> None:
    data = bytearray(WHOLE)
    for position, value in changes:
        data[position] = value
    with suppress(KernelError):
        all_uses(bytes(data))


@given(st.binary(max_size=200))
def test_noise_is_an_error_of_ours(noise: bytes) -> None:
    with pytest.raises(BtfError):
        Btf(noise)


def test_types_that_name_themselves_end() -> None:
    names = b"\0made\0a\0"
    types = struct.pack("<3I3I", 1, 4 << 24 | 1, 4, 6, 2, 0)
    types += struct.pack("<3I", 0, 10 << 24, 2)
    with pytest.raises(BtfError, match="names itself"):
        Btf(handmade(types, names)).decoder(
            dataclasses.make_dataclass("Made", [("a", int)])
        )


def test_socket_samples_are_flat_and_so_quick_to_decode() -> None:
    assert all(field.type == "int" for field in dataclasses.fields(SocketSample))
