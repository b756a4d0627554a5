"""Small files, read again and again for as long as the daemon lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def read_text(path: Path) -> str:
    """Return what is in *path*, in UTF-8. Raises OSError, and ValueError if it is not.

    To open a file as text makes the name of an attribute, ``incrementaldecoder``,
    anew each time, and CPython's cache of attributes keeps it, up to 4096 of them
    (3.11, Objects/typeobject.c): that takes 300 KiB, little by little, for hours.
    """
    return path.read_bytes().decode()
