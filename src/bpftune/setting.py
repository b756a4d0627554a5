"""One sysctl that is words, in one network namespace, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bpftune.model import Netns


@dataclass(slots=True)
class Setting:
    """A sysctl that is words, in one network namespace.

    *text* was read last. It is the admin's if *why* says so; *uid* and *comm* are
    then who set it, where the hook saw that. *by_file*: a file of the admin's sets
    it, which the next run of the daemon reads again. *tuner* met it first.
    """

    netns: Netns
    name: str
    tuner: str
    text: str
    why: str = ""
    by_file: bool = False
    uid: int | None = None
    comm: bytes = b""

    @property
    def counts(self) -> bool:
        """Whether a later run has to know of it."""
        return bool(self.why) and not self.by_file

    def hand_over(
        self,
        text: str,
        why: str,
        *,
        by_file: bool = False,
        uid: int | None = None,
        comm: bytes = b"",
    ) -> None:
        """Note that it is the admin's, and *text* in force."""
        self.text, self.why, self.by_file = text, why, by_file
        self.uid, self.comm = uid, comm

    def seen(self, text: str) -> None:
        """Note what is in force where it is the admin's: what they wrote is theirs."""
        if text != self.text:
            self.text, self.by_file = text, False

    def adopt(self, text: str) -> None:
        """Take it back from the admin, who chose *text*."""
        self.text, self.why, self.by_file = text, "", False
        self.uid, self.comm = None, b""
