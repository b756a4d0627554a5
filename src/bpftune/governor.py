"""May this change go ahead? Bounds that no tuner and no event can leave.

Pure: asked with facts, answers with a reason or None. The limits are shares of
what there is, not options: one socket may be granted a 1/64 of memory, all
growth together a 1/8 of what is available, and of TCP's own room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpftune.text import size_words

if TYPE_CHECKING:
    from bpftune.ledger import Entry
    from bpftune.model import Change, Memory, Tunable, Value

SOCKET_SHARE = 64
GROWTH_SHARE = 8
LARGEST = 2**31 - 1  # the kernel keeps these sysctls in an int
BURST = 16  # raises of one tunable in one namespace before the pace counts
REFILL_S = 60.0


def growth_bytes(change: Change, entry: Entry) -> int:
    """Return what *change* lets its sockets use beyond the value found.

    A range counts ports or the like, no bytes.
    """
    if entry.tunable.is_range:
        return 0
    return _beyond(change.value, entry) * max(1, change.sockets, entry.sockets)


def _beyond(value: Value, entry: Entry) -> int:
    """Return what *value* lets one socket use beyond the value found.

    Of a triple the second number is what each begins with, the third what it may get.
    """
    pairs = zip(value[-2:], entry.found[-2:], strict=True)
    return max(0, *(new - found for new, found in pairs))


def grant_after(change: Change, entry: Entry) -> int:
    """Return what is granted once *change* is made."""
    if goes_down(change.value, entry.expected, entry.tunable):
        return grant_left(change.value, entry)
    return growth_bytes(change, entry)


def grant_left(value: Value, entry: Entry) -> int:
    """Return what stays granted once *entry* is down at *value*: never more."""
    before, after = _beyond(entry.expected, entry), _beyond(value, entry)
    return entry.grant_bytes * after // before if before else 0


def refusal(
    change: Change, entry: Entry, memory: Memory, granted_bytes: int, now_s: float
) -> str | None:
    """Return why *change* may not be made, or None.

    *granted_bytes* is what the ledger has granted already, this entry included.
    """
    if entry.yielded:
        return "it is the admin's"
    if change.value == entry.found:
        return None  # the kernel had it, however odd it is
    wrong = _malformed(change.value, entry.found, entry.tunable)
    if wrong is not None or goes_down(change.value, entry.expected, entry.tunable):
        return wrong
    if change.record != "change":
        return f"{change.record}, but it goes up"
    if entry.trial is not None and entry.trial != change.trial:
        return f"a trial of it is under way for {entry.trial}"
    return _too_much(change, entry, memory, granted_bytes) or _too_often(entry, now_s)


def _upward(value: Value, tunable: Tunable) -> Value:
    """Return *value* with each number's sign such that more is greater."""
    if tunable.is_range and len(value) == 2:
        return (-value[0], value[1])
    return value


def _malformed(value: Value, found: Value, tunable: Tunable) -> str | None:
    if len(value) != len(found):
        return f"{len(value)} numbers for a tunable of {len(found)}"
    if any(not 0 < number <= LARGEST for number in value):
        return f"outside 1..{LARGEST}"
    if not goes_down(found, value, tunable):
        return "below the value found at start"
    if tunable.is_range and value[0] > value[-1]:
        return "the range's ends are out of order"
    if len(value) == 3 and list(value) != sorted(value):
        return "minimum, default and maximum out of order"
    return None


def goes_down(new: Value, old: Value, tunable: Tunable) -> bool:
    """Tell whether no number of *new* allows more than that of *old*."""
    pairs = zip(_upward(new, tunable), _upward(old, tunable), strict=True)
    return all(n <= o for n, o in pairs)


def _too_much(
    change: Change, entry: Entry, memory: Memory, granted_bytes: int
) -> str | None:
    if entry.tunable.is_range:
        return None
    most = memory.total_bytes // SOCKET_SHARE
    if change.value[-1] > most:
        return f"one socket may use at most {size_words(most)}, 1/64 of memory"
    granted = granted_bytes - entry.grant_bytes + growth_bytes(change, entry)
    room = min(
        memory.available_bytes,
        max(0, memory.tcp_pressure_bytes - memory.tcp_used_bytes),
    )
    if granted > room // GROWTH_SHARE:
        return (
            f"all growth together may use at most {size_words(room // GROWTH_SHARE)}, "
            "1/8 of the memory that is free for it"
        )
    return None


def _too_often(entry: Entry, now_s: float) -> str | None:
    recent = [then for then in entry.raises_s if now_s - then < BURST * REFILL_S]
    if len(recent) >= BURST:
        return f"raised {BURST} times in the last {BURST * REFILL_S / 60:.0f} minutes"
    return None
