"""Sysctls that are words, by which tuners go: whose each is, in each namespace.

Nobody writes them here. One that the admin set, be it in a file, by a write that
the hook saw or by one that it did not, is the admin's from then on, until it is
adopted. Texts are compared, not writes: a refused write or one of the same text
changes nothing. A tuner learns of it from ``Facts.admins``, and once by ``Yielded``.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING

from bpftune.carry import GIVEN_BACK
from bpftune.kernel.errors import KernelError
from bpftune.kernel.netns import NetnsGoneError
from bpftune.kernel.sysctl import SysctlError
from bpftune.model import Netns, NetnsCookie, Tunable, Yielded
from bpftune.reconcile import MOST_NAMESPACES, REREAD_AT_ONCE
from bpftune.records import Record
from bpftune.setting import Setting
from bpftune.text import printable
from bpftune.tuners.sysctl import who

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from bpftune.agenda import Agenda
    from bpftune.machine import Machine
    from bpftune.model import Recheck, Tuner
    from bpftune.settings_file import SettingsFile

LOOKED_AT = 64
"""So many namespaces, those with the latest events, are read at every write of
anybody's; the others before a decision, and in their turn within minutes."""

FULL = "there are more network namespaces than can be kept apart"
LOOKS = 2  # a namespace that may not be entered for a moment is not gone


class Settings:
    """All that are known, by namespace; the one with the latest event comes last."""

    def __init__(
        self,
        machine: Machine,
        agenda: Agenda,
        tell: Callable[[Record], None],
        is_outside: Callable[[NetnsCookie], bool],
        hear_writes: Callable[[], None],
        let_know: Callable[[Yielded], None],
        file: SettingsFile | None = None,
    ) -> None:
        """Read through *machine*; *let_know* tuners what is the admin's by now.

        Namespaces that are *is_outside* are not compared. *hear_writes* puts on the
        *agenda* what the hook saw by now. *file* keeps what has to outlive the daemon.
        """
        self._machine = machine
        self._tell = tell
        self._is_outside = is_outside
        self._agenda = agenda
        self._hear_writes = hear_writes
        self._let_know = let_know
        self._file = file
        self._known: dict[NetnsCookie, dict[str, Setting]] = {}
        self._next = 0

    def __iter__(self) -> Iterator[Setting]:
        for mine in list(self._known.values()):
            yield from list(mine.values())

    def theirs(self) -> list[Setting]:
        """Return those that are the admin's."""
        return [setting for setting in self if setting.why]

    # --- facts -------------------------------------------------------------------

    def admins(self, tuner: Tuner, netns: Netns) -> Mapping[str, str]:
        """Return those of *tuner*'s that are the admin's, with the reason.

        All are read. Raises NetnsGoneError.
        """
        if not tuner.settings:
            return {}
        mine = self._of(netns.cookie)
        if mine is None:
            return dict.fromkeys(tuner.settings, FULL)
        for name in tuner.settings:
            if name in mine:
                self._compare(mine[name])
            else:
                self._meet(mine, tuner, netns, name)
        theirs = (mine[name] for name in tuner.settings if name in mine)
        return {setting.name: setting.why for setting in theirs if setting.why}

    def _of(self, cookie: NetnsCookie) -> dict[str, Setting] | None:
        """Return what is known of a namespace; None if there is no room for it."""
        mine = self._known.pop(cookie, None)
        if mine is None:
            if not self._has_room():
                return None
            mine = {}
        self._known[cookie] = mine
        return mine

    def _has_room(self) -> bool:
        """Forget the namespace without event for longest, if need be.

        What is the admin's is never forgotten for a stranger's sake.
        """
        if len(self._known) < MOST_NAMESPACES:
            return True
        host = self._machine.namespaces.host.cookie
        for cookie, mine in self._known.items():
            if cookie != host and not any(setting.why for setting in mine.values()):
                del self._known[cookie]
                return True
        return False

    def _meet(
        self,
        mine: dict[str, Setting],
        tuner: Tuner,
        netns: Netns,
        name: str,
        write: Recheck | None = None,
    ) -> None:
        """Get to know a setting, as it was before the *write* from there, if any."""
        try:
            now = self._machine.sysctls.read_text(netns.cookie, name)
        except SysctlError as error:
            if error.errno != errno.ENOENT:
                self._tell(Record("degraded", str(error), tuner.name, name, netns))
            return
        if write is None:
            self._hear_writes()
            write = self._agenda.write_from(netns.cookie, name)
        before = None if write is None else write.old_text
        text = now if before is None else before
        mine[name] = setting = Setting(netns, name, tuner.name, text)
        line = self._machine.admins_values.get(name)
        if line is not None and netns.cookie == self._machine.namespaces.host.cookie:
            why = f"{line.file} line {line.line} sets it"
            self._hand_over(setting, now, why, by_file=True)
        self._compare(setting, write)

    # --- what others set ---------------------------------------------------------

    def _compare(self, setting: Setting, write: Recheck | None = None) -> None:
        """Read a setting; another text than the one known makes it the admin's.

        *write* may have done it. What cannot be read stays as it is known.
        """
        cookie, name = setting.netns.cookie, setting.name
        if self._is_outside(cookie):
            return
        try:
            now = self._machine.sysctls.read_text(cookie, name)
        except SysctlError:
            return
        if now == setting.text:
            return
        if setting.why:
            counted = setting.counts
            setting.seen(now)
            if not counted:
                self._note(setting)
            return
        if write is None:
            self._hear_writes()
            write = self._agenda.write_of(cookie, name)
        uid, comm = (None, b"") if write is None else (write.uid, write.comm)
        why = who(printable(now), uid, comm)
        self._hand_over(setting, now, why, uid=uid, comm=comm)

    def after_write(
        self, tuners: Iterable[Tuner], cookie: NetnsCookie, write: Recheck
    ) -> None:
        """Read *write*'s sysctl in *cookie*, the writer's, and where it is known.

        In a namespace that was not known, what was there before the write is
        taken for what was found. Raises NetnsGoneError.
        """
        tuner = next((one for one in tuners if write.name in one.settings), None)
        if tuner is None:
            return
        netns = self._machine.namespaces.find(cookie)
        if netns is None:
            raise NetnsGoneError(f"network namespace #{cookie} is gone")
        mine = self._of(cookie)
        if mine is not None and write.name not in mine:
            self._meet(mine, tuner, netns, write.name, write)
        latest = list(self._known.values())[-LOOKED_AT:]
        known = (one[write.name] for one in reversed(latest) if write.name in one)
        self._compare_all(known, write)

    def each_minute(self) -> None:
        """Read the next few hundred that are nobody's yet; all get their turn."""
        known = [setting for setting in self if not setting.why]
        if self._next >= len(known):
            self._next = 0
        turn = known[self._next : self._next + REREAD_AT_ONCE]
        self._next += REREAD_AT_ONCE
        self._compare_all(turn)
        if self._file is not None:
            self._file.catch_up(self)
            if self._file.trouble:
                self._tell(Record("degraded", self._file.trouble))

    def _compare_all(
        self, settings: Iterable[Setting], write: Recheck | None = None
    ) -> None:
        for setting in settings:
            # A namespace that is gone is noticed elsewhere.
            with suppress(KernelError):
                self._compare(setting, write)

    def _hand_over(
        self,
        setting: Setting,
        now: str,
        why: str,
        *,
        by_file: bool = False,
        uid: int | None = None,
        comm: bytes = b"",
    ) -> None:
        old = setting.text
        setting.hand_over(now, why, by_file=by_file, uid=uid, comm=comm)
        if setting.counts:
            self._note(setting)
        by = {} if uid is None else {"by_uid": uid, "by_comm": comm}
        evidence = {"old_text": printable(old), "new_text": printable(now)}
        self._say("yielded", setting, why, {"evidence": evidence, **by})
        self._let_know(Yielded(setting.netns.cookie, Tunable(setting.name)))

    def _say(
        self, kind: str, setting: Setting, why: str, extra: Mapping[str, object]
    ) -> None:
        tuner, name = setting.tuner, setting.name
        self._tell(Record(kind, why, tuner, name, setting.netns, extra=extra))

    # --- the admin's word --------------------------------------------------------

    def adopt(self, setting: Setting) -> None:
        """Take one back from the admin, who asked for it. Raises KernelError."""
        now = self._machine.sysctls.read_text(setting.netns.cookie, setting.name)
        counted = setting.counts
        setting.adopt(now)
        if counted:
            self._note(setting)
        evidence = {"text": printable(now)}
        self._say("adopted", setting, GIVEN_BACK, {"evidence": evidence})

    # --- over restarts -----------------------------------------------------------

    def restore(self) -> None:
        """Take over what an earlier run kept, as far as it is there.

        Raises KernelError if nobody can tell what that was.
        """
        if self._file is None:
            return
        settings, told = self._file.read()
        if told.damage:
            why = f"the file of settings that are the admin's is damaged: {told.damage}"
            self._tell(Record("degraded", why))
        there = self._look({setting.netns.cookie for setting in settings})
        for setting in settings:
            cookie = setting.netns.cookie
            if there is not None:
                if cookie not in there:
                    continue
                setting.netns = there[cookie]
            mine = self._of(cookie)
            if mine is not None:
                mine[setting.name] = setting
        self._file.catch_up(self)

    def _look(self, cookies: set[NetnsCookie]) -> dict[NetnsCookie, Netns] | None:
        """Return the namespaces that are there, None if that cannot be told."""
        there: dict[NetnsCookie, Netns] = {}
        for _ in range(LOOKS):
            if cookies <= there.keys():
                break
            try:
                everywhere = self._machine.namespaces.everywhere()
            except (KernelError, OSError):
                return None
            there.update((netns.cookie, netns) for netns in everywhere)
        return there if len(there) < MOST_NAMESPACES else None

    def _note(self, setting: Setting) -> None:
        if self._file is not None:
            self._file.note(setting, self)

    def forget(self, cookie: NetnsCookie) -> None:
        """Drop a namespace that is gone."""
        mine = self._known.pop(cookie, {})
        if self._file is not None and any(one.counts for one in mine.values()):
            self._file.gone(cookie, self)
