"""Values as people write them: 300mbit, 200ms, 4MiB, 0.3%; and back."""

from __future__ import annotations

import re

from bpftune.lab.errors import LabError

_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z%]*)\s*", re.IGNORECASE)
_RATES = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
_TIMES = {"us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9}
_SIZES = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9,
    "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30,
}  # fmt: skip
_SHARES = {"": 1.0, "%": 0.01}


class ValueTextError(LabError):
    """A value is not written as expected."""


def _parse(text: str, units: dict[str, int] | dict[str, float], example: str) -> float:
    match = _NUMBER.fullmatch(text)
    unit = match[2].lower() if match else ""
    if match is None or unit not in units:
        raise ValueTextError(f"{text!r} is not understood: write it like {example}")
    return float(match[1]) * units[unit]


def parse_rate(text: str) -> int:
    """Return bits per second."""
    rate = round(_parse(text, _RATES, "300mbit"))
    if rate < 1000:
        raise ValueTextError(f"{text!r}: the slowest link is 1kbit")
    return rate


def parse_duration_ns(text: str) -> int:
    """Return nanoseconds."""
    return round(_parse(text, _TIMES, "200ms"))


def parse_seconds(text: str) -> float:
    """Return seconds; a number without a unit is seconds."""
    return _parse(text, {"": 1.0, **{u: n / 1e9 for u, n in _TIMES.items()}}, "60s")


def parse_size(text: str) -> int:
    """Return bytes; KiB is 1024, kB 1000."""
    return round(_parse(text, _SIZES, "4MiB"))


def parse_share(text: str) -> float:
    """Return a share between 0 and 1."""
    share = _parse(text, _SHARES, "0.3% or 0.003")
    if share > 1:
        raise ValueTextError(f"{text!r} is more than all")
    return share


def parse_count(text: str) -> int:
    """Return a whole number of at least 1."""
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ValueTextError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def parse_factor(text: str) -> float:
    """Return a number above 0."""
    factor = _parse(text, {"": 1.0}, "0.25")
    if factor <= 0:
        raise ValueTextError(f"{text!r} is not more than 0")
    return factor


def parse_family(text: str) -> int:
    """Return 4 or 6."""
    if text not in {"4", "6"}:
        raise ValueTextError(f"{text!r} is no IP version: write 4 or 6")
    return int(text)


def format_rate(bits_per_s: float) -> str:
    """Return a rate for people."""
    return f"{bits_per_s / 1e6:.1f} Mbit/s"


def format_size(size_bytes: float) -> str:
    """Return a size for people."""
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.4g} {unit}"
    return f"{size_bytes:.0f} B"


def format_duration(seconds: float) -> str:
    """Return a duration for people."""
    if seconds >= 1:
        return f"{seconds:.3g} s"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds * 1e6:.3g} us"
