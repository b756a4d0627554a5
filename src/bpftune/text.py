"""Words for people: escaped names, sizes, durations, rates and times.

``printable`` is the choke point for everything that comes from outside: names
of commands, interfaces and namespaces, and text read from files. ``one_line``
is the last gate before a record leaves the daemon.
"""

from __future__ import annotations

import time

# The only characters beyond ASCII that our own sentences use.
_OURS = frozenset("±")
_CUT = "..."
_BACKSLASH = 0x5C
_BINARY = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_DECIMAL = ("bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s")


def _utf8(text: str) -> bytes:
    # Names from the kernel are bytes that Python carries as lone surrogates;
    # other lone surrogates can only come from JSON.
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _cut(pieces: list[str], limit: int) -> str:
    """Join *pieces* up to *limit* characters without breaking one of them."""
    if sum(map(len, pieces)) <= limit:
        return "".join(pieces)
    room = max(limit - len(_CUT), 0)
    kept: list[str] = []
    for piece in pieces:
        room -= len(piece)
        if room < 0:
            break
        kept.append(piece)
    return "".join(kept) + _CUT[: max(limit, 0)]


def printable(text: bytes | str, limit: int = 64) -> str:
    r"""Escape *text* from outside to at most *limit* printable ASCII characters.

    A byte that is not printable ASCII, and the backslash, become ``\xNN``, so
    that different names never look alike. What is too long ends in ``...``.
    """
    data = text if isinstance(text, bytes) else _utf8(text)
    # A character takes at least one place, so more than this is never shown.
    data = data[: max(limit, 0) + 1]
    pieces = [
        chr(byte) if 0x20 <= byte < 0x7F and byte != _BACKSLASH else f"\\x{byte:02x}"
        for byte in data
    ]
    return _cut(pieces, limit)


def one_line(text: str, limit: int = 4000) -> str:
    """Return *text*, composed by us, as one line that no terminal acts upon.

    Unlike ``printable`` it leaves backslashes alone, because the names inside
    *text* are escaped already, and the few other characters that we write.
    """
    pieces = []
    for character in text[: max(limit, 0) + 1]:
        if " " <= character <= "~" or character in _OURS:
            pieces.append(character)
        else:
            pieces += [f"\\x{byte:02x}" for byte in _utf8(character)]
    return _cut(pieces, limit)


def _three_digits(number: float) -> str:
    """Format *number*, 0 to 1024, with three significant digits at most."""
    decimals = 0 if number >= 99.95 else 1 if number >= 9.995 else 2
    text = f"{number:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def _scaled(number: float, step: float, units: tuple[str, ...]) -> str:
    sign = "-" if number < 0 else ""
    number = abs(number)
    index = 0
    # Rounding must not give "1024 KiB" or "1000 Mbit/s".
    while number >= step - 0.5 and index < len(units) - 1:
        number /= step
        index += 1
    return f"{sign}{_three_digits(number)} {units[index]}"


def size_words(n_bytes: int) -> str:
    """Return a size in bytes as words: ``4 MiB``, ``85.3 KiB``, ``0 bytes``."""
    if abs(n_bytes) < 1024:
        return f"{n_bytes} bytes"
    return _scaled(n_bytes, 1024, _BINARY)


def rate_words(bytes_per_s: float) -> str:
    """Return a rate in bytes per second as words, in bits: ``135 Mbit/s``."""
    return _scaled(bytes_per_s * 8, 1000, _DECIMAL)


def seconds_words(seconds: float) -> str:
    """Return a duration as words: ``250 ms``, ``64 s``, ``10 min``, ``2 h 5 min``."""
    sign = "-" if seconds < 0 else ""
    seconds = abs(seconds)
    if 0 < seconds < 0.9995e-3:
        return f"{sign}{_three_digits(seconds * 1e6)} us"
    if 0 < seconds < 0.9995:
        return f"{sign}{_three_digits(seconds * 1e3)} ms"
    if seconds < 99.5:
        return f"{sign}{_three_digits(seconds)} s"
    large, small, words = *divmod(round(seconds), 60), ("min", "s")
    if large >= 60:
        large, small, words = *divmod(round(seconds / 60), 60), ("h", "min")
    if large >= 48 and words[0] == "h":
        large, small, words = *divmod(large, 24), ("d", "h")
    rest = f" {small} {words[1]}" if small else ""
    return f"{sign}{large} {words[0]}{rest}"


def rfc3339(unix_time: float) -> str:
    """Return a time as RFC 3339 in UTC with milliseconds."""
    seconds, milliseconds = divmod(int(unix_time * 1000), 1000)
    day = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{day}.{milliseconds:03d}Z"
