"""Encode what BPF programs read from maps, by the type information they carry."""

from __future__ import annotations

import dataclasses
import struct
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from bpftune.kernel.btf import Btf

T = TypeVar("T")


def encoder(btf: Btf, cls: type[T]) -> Callable[[T], bytes]:
    """Return a function that turns a *cls* into what its struct contains.

    Padding is zero. The function raises ValueError if a value does not fit; an
    array of bytes has to be as long as in the struct. Raises BtfError as
    ``Btf.decoder`` does.
    """
    _, text, build = btf.format_of(cls)
    layout = struct.Struct(text)

    def encode(value: T) -> bytes:
        try:
            data = layout.pack(*_flat(value))
        except struct.error as error:
            raise ValueError(f"{value}: {error}") from None
        # What is too long is cut without a word.
        if build(layout.unpack(data)) != value:
            raise ValueError(f"{value} does not fit its struct")
        return data

    return encode


def _flat(value: Any) -> list[Any]:
    """Return a dataclass's values, and those of what is nested in it, in order."""
    found: list[Any] = []
    for field in dataclasses.fields(value):
        one = getattr(value, field.name)
        if dataclasses.is_dataclass(one):
            found += _flat(one)
        elif isinstance(one, tuple):
            found += one
        else:
            found.append(one)
    return found
