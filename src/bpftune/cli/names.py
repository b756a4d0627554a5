"""What people type: short names of tunables, times ago."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

from bpftune.cli.errors import CommandError, ExitCode
from bpftune.kernel.sysctl import SysctlError, dotted_name, relative_path
from bpftune.text import printable

PROC_SYS = Path("/proc/sys")
RUN_NETNS = Path("/run/netns")
FAMILIES = ("net.ipv4", "net.core")  # records leave these out

_UNITS_S = {
    **dict.fromkeys(("s", "sec"), 1),
    **dict.fromkeys(("m", "min"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
}
_AGO = re.compile(r"(\d{1,9})\s*([a-z]+)")


def tunable_name(word: str) -> str:
    """Return the dotted name of a sysctl; other words as they are.

    ``tcp_wmem`` and ``net/ipv4/tcp_wmem`` are ``net.ipv4.tcp_wmem`` too.
    """
    if word.startswith("net/"):
        try:
            return dotted_name(relative_path(word))
        except SysctlError:
            return word
    if re.fullmatch(r"[a-z0-9_]+", word):
        for family in FAMILIES:
            if (PROC_SYS / relative_path(f"{family}.{word}")).is_file():
                return f"{family}.{word}"
    return word


def destination_name(word: str) -> str:
    """Return the prefix that an address counts for; other words as they are."""
    try:
        address = ip_address(word)
        address = getattr(address, "ipv4_mapped", None) or address
        length = 24 if address.version == 4 else 48
        return str(ip_network((int(address), length), strict=False))
    except ValueError:
        return word


def netns_name(word: str) -> str:
    """Return a network namespace as it is told: a name, or ``#`` and a cookie."""
    is_cookie = word.isdecimal() and not (RUN_NETNS / word).exists()
    return f"#{word}" if is_cookie else word


def moment(text: str, now: datetime) -> datetime:
    """Return the time that *text* means: ``2h`` ago, or RFC 3339.

    A time without an offset is local. Raises CommandError.
    """
    ago = _AGO.fullmatch(text.strip())
    if ago and ago[2] in _UNITS_S:
        return now - timedelta(seconds=int(ago[1]) * _UNITS_S[ago[2]])
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        raise CommandError(
            f"{printable(text)} is no time",
            "say 90s, 30min, 2h or 7d, or a time such as 2026-01-31T12:00:00Z",
            ExitCode.USAGE,
        ) from error
