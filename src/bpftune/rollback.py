"""The way back: to the values found at first, as far as they are ours still.

``plan`` decides and ``carry_out`` does it, with the daemon's ledger or, when
the daemon is dead, with what the journal tells (``rollback_offline``).
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bpftune.carry import Carrier
from bpftune.carry import Sysctls as AnySysctls
from bpftune.journal import NAME, Journal, boot_id, replay
from bpftune.kernel.errors import KernelError
from bpftune.kernel.netns import Namespaces, NetnsGoneError
from bpftune.kernel.sock_diag import RMEM, WMEM, InUse, buffers_in_use
from bpftune.kernel.sysctl import Sysctls
from bpftune.ledger import Ledger
from bpftune.lock import lock
from bpftune.text import size_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from bpftune.entry import Entry
    from bpftune.model import Netns, Tunable, Value
    from bpftune.records import Record

SET, SKIP, FAIL = "set", "skip", "fail"

GONE = "its network namespace is gone"


@dataclass(frozen=True, slots=True)
class Selection:
    """What to roll back: all that matches; what is None matches everything.

    *change* is an id such as ``c17``, *tunable* a sysctl's name, with or without
    its ``net.ipv4.``, *netns* a name or, as ``#17`` or ``17``, a cookie.
    """

    change: str | None = None
    tunable: str | None = None
    netns: str | None = None

    def has(self, entry: Entry) -> bool:
        """Tell whether *entry* is selected."""
        if self.change is not None and not entry.is_of(self.change):
            return False
        name = f".{entry.tunable.name}"
        if self.tunable is not None and not name.endswith(f".{self.tunable}"):
            return False
        cookie = str(entry.netns.cookie)
        return self.netns in {None, entry.netns.name, cookie, f"#{cookie}"}


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one tunable in one namespace, and why.

    *action* is ``set`` (*now* is replaced by *new*, the value found), ``skip``,
    or ``fail``, if the kernel did not let us. *now* is None if it is not known.
    """

    netns: Netns
    tunable: Tunable
    change: str | None
    action: str
    now: Value | None
    new: Value
    why: str


def plan(
    entries: Iterable[Entry],
    selection: Selection,
    current: Callable[[Entry], Value],
    in_use: InUse,
) -> list[Step]:
    """Return what a rollback of *selection* would do; nothing is done.

    *current* returns an entry's value in force, or raises KernelError; *in_use*
    the largest buffer, in bytes, of a connection to which the tunable applies,
    None if that is not known.
    """
    steps = []
    for entry in entries:
        if selection.has(entry) and (entry.changes or entry.counts):
            step = _step(entry, current, in_use)
            if step is not None:
                steps.append(step)
    return steps


def _step(
    entry: Entry, current: Callable[[Entry], Value], in_use: InUse
) -> Step | None:
    """Decide on one entry; None if it has nothing to do with us."""

    def step(action: str, now: Value | None, why: str) -> Step:
        return Step(
            netns=entry.netns,
            tunable=entry.tunable,
            change=entry.change_id,
            action=action,
            now=now,
            new=entry.found,
            why=why,
        )

    never_ours = not entry.changes and (entry.written, entry.intended) == (None, None)
    if never_ours:
        return None
    try:
        now = current(entry)
    except NetnsGoneError:
        return step(SKIP, None, GONE)
    except KernelError as error:
        return step(FAIL, None, str(error))
    if now == entry.found:
        return step(SKIP, now, "it is at the value found")
    if not entry.set_by_us(now):
        return step(SKIP, now, "somebody set it since, and it stays theirs")
    return step(SET, now, "back to the value found" + _in_use(entry, in_use))


def _in_use(entry: Entry, in_use: InUse) -> str:
    """Say it if connections use more than the value found allows."""
    if entry.tunable.name not in {WMEM, RMEM}:
        return ""
    used_bytes = in_use(entry.netns, entry.tunable)
    if used_bytes is None:
        return "; what connections use there is not known"
    if used_bytes <= entry.found[-1]:
        return ""
    return (
        f"; a connection there has a buffer of {size_words(used_bytes)}, which it "
        "keeps, but no other will get that"
    )


def carry_out(steps: Iterable[Step], ledger: Ledger, carrier: Carrier) -> list[Step]:
    """Do what *steps* say; return them with what came of it.

    What is refused holds up nothing else.
    """
    return [_do(step, ledger, carrier) for step in steps]


def _do(step: Step, ledger: Ledger, carrier: Carrier) -> Step:
    if step.action != SET or step.now is None:
        return step
    entry = ledger.get(step.netns.cookie, step.tunable)
    if entry is None:
        return replace(step, action=SKIP, why=GONE)
    try:
        carrier.roll_back(entry, step.now, step.why)
    except NetnsGoneError:
        return replace(step, action=SKIP, why=GONE)
    except KernelError as error:
        return replace(step, action=FAIL, why=str(error))
    return step


def roll_back(
    ledger: Ledger,
    selection: Selection,
    sysctls: AnySysctls,
    carrier: Carrier,
    in_use: InUse,
    *,
    dry_run: bool,
) -> list[Step]:
    """Plan and, unless it is a *dry_run*, do it; return what came of it.

    What failed is looked at once more, since it may do so for a moment only.
    """

    def current(entry: Entry) -> Value:
        return sysctls.read(entry.netns.cookie, entry.tunable.name)

    def once(entries: Iterable[Entry]) -> dict[tuple[int, str], Step]:
        steps = plan(entries, selection, current, in_use)
        done = steps if dry_run else carry_out(steps, ledger, carrier)
        return {(step.netns.cookie, step.tunable.name): step for step in done}

    done = once(ledger)
    failed = {place for place, step in done.items() if step.action == FAIL}
    again = (e for e in ledger if (e.netns.cookie, e.tunable.name) in failed)
    return list({**done, **once(again)}.values())


def rollback_offline(
    directory: Path,
    selection: Selection,
    *,
    dry_run: bool = False,
    tell: Callable[[Record], None] = lambda _: None,
) -> list[Step]:
    """Roll back what a dead daemon left in force, by its journal in *directory*.

    Needs no BPF. What was done is told and put into the journal, so that the
    next daemon leaves it alone. Raises SecondDaemonError if a daemon runs, and
    KernelError if the journal cannot be read.
    """
    if not (directory / NAME).exists():
        return []
    with ExitStack() as stack:
        lock(directory, stack)
        namespaces = Namespaces()
        stack.callback(namespaces.close)
        sysctls = Sysctls(namespaces)
        stack.callback(sysctls.close)
        namespaces.everywhere()  # one look finds them all
        boot = boot_id()
        journal = Journal(directory / NAME, boot)
        stack.callback(journal.close)
        ledger = Ledger(journal)
        for entry in replay(directory / NAME, boot).entries:
            ledger.restore(entry)
        carrier = Carrier(
            ledger, sysctls, tell, namespaces.undo_prefix, observe=dry_run
        )
        return roll_back(
            ledger,
            selection,
            sysctls,
            carrier,
            buffers_in_use(namespaces),
            dry_run=dry_run,
        )
