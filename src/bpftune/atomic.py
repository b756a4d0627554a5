"""Replace a file as a whole: whoever reads it sees the old text or the new."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def replace_file(path: Path, text: str, mode: int = 0o644) -> None:
    """Let *path* have *text* and nothing else. Raises OSError; then it is as before.

    It is not flushed to the disk: after a power cut it may be the old one, or empty.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.unlink(missing_ok=True)  # whatever was put there
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:  # not as text: see kernel/files.py
            os.fchmod(file.fileno(), mode)
            file.write(text.encode())
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
