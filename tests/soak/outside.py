"""What the daemon must leave alone: the host's sysctls."""

from __future__ import annotations

from pathlib import Path

NETWORK = Path("/proc/sys/net")


def host_sysctls(root: Path = NETWORK) -> dict[str, str]:
    """Return all that can be read, by path."""
    found = {}
    for path in sorted(root.rglob("*")):
        try:
            if path.is_file():
                found[str(path)] = path.read_text(errors="replace")
        except OSError:
            continue  # it is for writing only, or went meanwhile
    return found


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return what changed, in words. What came or went is none: devices do."""
    return [
        f"{path} of the host was {before[path].strip()!r} and is {text.strip()!r}"
        for path, text in after.items()
        if before.get(path, text) != text
    ]
