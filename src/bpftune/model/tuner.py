"""What ties tunables, BPF programs and decisions together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from bpftune.model.events import Event
from bpftune.model.facts import Facts
from bpftune.model.requests import Request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from bpftune.model.things import Tunable

E = TypeVar("E", bound=Event)
Policy = Callable[[E, Facts], Iterable[Request]]


class Tuner:
    """A set of tunables, the BPF programs that watch them, and decisions.

    A tuner made only of policies is an instance with policies registered by
    ``on``. One that keeps state derives from this class and overrides the
    three entry points.
    """

    def __init__(
        self,
        name: str,
        summary: str,
        tunables: tuple[Tunable, ...] = (),
        events: tuple[type[Event], ...] = (),
        bpf_object: Path | None = None,
        losses: Mapping[str, str] | None = None,
        settings: tuple[str, ...] = (),
        needs: tuple[str, ...] = (),
    ) -> None:
        """Describe a tuner; *name* is that of its folder and man page.

        *events* are the classes that *bpf_object*, a compiled BPF file, emits.
        *losses* tells, for each BPF program, what is lost where this kernel
        cannot run it. *settings* are sysctls that are words, not numbers, by which
        the tuner goes: one that the admin set is in ``Facts.admins``. *needs* are
        the programs without any of which there is nothing that it could do.
        """
        self.name = name
        self.summary = summary
        self.tunables = tunables
        self.events = events
        self.bpf_object = bpf_object
        self.losses = dict(losses or {})
        self.settings = settings
        self.needs = needs
        self.policies: dict[type[Event], Policy[Any]] = {}

    def on(self, event: type[E]) -> Callable[[Policy[E]], Policy[E]]:
        """Register the decorated policy for *event*."""

        def register(policy: Policy[E]) -> Policy[E]:
            self.policies[event] = policy
            return policy

        return register

    def init(self, facts: Facts) -> Iterable[Request]:
        """Begin: the BPF part is attached; *facts* are the host's."""
        return ()

    def event_handler(self, event: Event, facts: Facts) -> Iterable[Request]:
        """Decide what follows from *event*."""
        policy = self.policies.get(type(event))
        return policy(event, facts) if policy else ()

    def fini(self) -> None:
        """End: no event will follow; the BPF part is still attached."""

    def explain(self, about: str, now_s: float) -> Iterable[str]:
        """Say what is known of a destination, such as ``203.0.113.0/24``."""
        return ()

    def save(self, now_s: float, now_unix_s: float) -> object:
        """Return what is to outlive the daemon, as JSON has it; None: nothing.

        *now_s* is the clock of ``Facts``, which begins anew with the machine.
        """
        return None

    def restore(self, saved: object, now_s: float, now_unix_s: float) -> None:
        """Take in, before ``init``, what an earlier run saved.

        It may be damaged or somebody's invention. Raises ValueError, with nothing
        taken in, if it is not as it should be.
        """
