"""``bpftune check``: what works on this kernel, found out by doing it.

Every program is loaded and attached as the daemon would, and let go at once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bpftune.cli.errors import ExitCode
from bpftune.cli.terminal import GREEN, RED, coloured, say, say_json, say_wrapped
from bpftune.cli.tunables import problems_for_machines, programs, say_problems
from bpftune.kernel.cgroup import cgroup2_root, open_cgroup2_root
from bpftune.kernel.errors import KernelError
from bpftune.kernel.libbpf import libbpf
from bpftune.kernel.loader import Loader
from bpftune.kernel.sockets import LOST_MARKS, LOST_NUDGE, Sockets
from bpftune.text import one_line
from bpftune.tuners import Problem, discover, is_built_in

if TYPE_CHECKING:
    from bpftune.model import Tuner

KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")
SAMPLER = "connections"


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether something works, why not (or what was found), and what is lost."""

    name: str
    works: bool
    reason: str = ""
    lost: str = ""


def needs() -> list[Answer]:
    """Return what everything here stands on: without one of it nothing works."""
    answers = []
    found = KERNEL_BTF.exists()
    why = "" if found else f"{KERNEL_BTF} is missing: needs CONFIG_DEBUG_INFO_BTF"
    answers.append(Answer("BTF of the kernel", found, why))
    try:
        version = ".".join(map(str, libbpf().version))
        answers.append(Answer("libbpf", works=True, reason=version))
    except KernelError as error:
        answers.append(Answer("libbpf", works=False, reason=_text(error)))
    try:
        answers.append(Answer("cgroup2", works=True, reason=str(cgroup2_root())))
    except KernelError as error:
        answers.append(Answer("cgroup2", works=False, reason=_text(error)))
    return answers


def _text(error: KernelError) -> str:
    return f"{error}; {error.hint}" if error.hint else str(error)


def try_out(tuner: Tuner) -> list[Answer]:
    """Load and attach the programs of *tuner*; return what came of each."""
    if tuner.bpf_object is None:
        return []
    cgroup_fd = -1
    try:
        cgroup_fd = open_cgroup2_root()
        with Loader() as loader:
            verdicts = loader.add(
                tuner, tuner.bpf_object, tuner.events, cgroup_fd=cgroup_fd
            )
    except KernelError as error:
        reason = _text(error)
        return [
            Answer(name, works=False, reason=reason, lost=tuner.losses.get(name, ""))
            for name in programs(tuner) or [tuner.bpf_object.name]
        ]
    finally:
        if cgroup_fd >= 0:
            os.close(cgroup_fd)
    return [
        Answer(
            verdict.program,
            verdict.works,
            verdict.reason,
            "" if verdict.works else tuner.losses.get(verdict.program, ""),
        )
        for verdict in verdicts
    ]


def try_sampler() -> list[Answer]:
    """Load what looks at connections, full looks and cheap ones."""
    full, cheap = "full looks", "cheap looks"
    lost = "nothing can be measured"
    try:
        with Sockets() as sockets:
            refused, no_nudge = sockets.refused, sockets.nudge_refused
    except KernelError as error:
        return [Answer(full, works=False, reason=_text(error), lost=lost)]
    known = Answer(cheap, not refused, refused, LOST_MARKS if refused else "")
    nudge = Answer("nudges", not no_nudge, no_nudge, LOST_NUDGE if no_nudge else "")
    return [Answer(full, works=True), known, nudge]


def verdict_on(
    base: list[Answer],
    tried: dict[str, list[Answer]],
    sampler: list[Answer],
    problems: list[Problem],
) -> ExitCode:
    """Return the exit code: all, part or nothing works."""
    answers = [answer for of_tuner in tried.values() for answer in of_tuner]
    full_looks, *_ = sampler
    if not all(answer.works for answer in [*base, full_looks]):
        return ExitCode.UNSUPPORTED
    if answers and not any(answer.works for answer in answers):
        return ExitCode.UNSUPPORTED
    if problems or not all(answer.works for answer in answers + sampler):
        return ExitCode.DEGRADED
    return ExitCode.OK


def _say(answer: Answer, width: int) -> None:
    word = coloured("yes", GREEN) if answer.works else coloured("no ", RED)
    lost = f"lost: {answer.lost}" if answer.lost else ""
    first, *more = [text for text in (answer.reason, lost) if text] or [""]
    indent = width + 9
    say_wrapped(f"  {answer.name:<{width}}  {word}  ", first, indent)
    for line in more:
        say_wrapped(" " * (indent), line)


def _for_machines(answer: Answer) -> dict[str, object]:
    return {
        "name": answer.name,
        "works": answer.works,
        "reason": one_line(answer.reason),
        "lost": one_line(answer.lost),
    }


_WORDS = {
    ExitCode.OK: ("all", "Everything works on this kernel."),
    ExitCode.DEGRADED: ("part", "Part is missing; the rest works without it."),
    ExitCode.UNSUPPORTED: ("nothing", "bpftune cannot work on this machine."),
}


def check(*, json: bool = False) -> int:
    """Tell per tuner and program whether it works, or why not."""
    base = needs()
    found, problems = discover()
    tried = {tuner.name: try_out(tuner) for tuner in found}
    sampler = try_sampler()
    code = verdict_on(base, tried, sampler, problems)
    release = os.uname().release
    if json:
        fields: dict[str, object] = {
            "kernel": release,
            "works": _WORDS[code][0],
            "needs": [_for_machines(answer) for answer in base],
            "tuners": [
                {
                    "name": tuner.name,
                    "built_in": is_built_in(tuner),
                    "programs": [_for_machines(one) for one in tried[tuner.name]],
                }
                for tuner in found
            ],
            SAMPLER: [_for_machines(one) for one in sampler],
            "problems": problems_for_machines(problems),
        }
        say_json(fields)
        return code
    everything = base + sampler
    everything += [one for answers in tried.values() for one in answers]
    width = max(len(one.name) for one in everything)
    say(f"Linux {release}")
    for answer in base:
        _say(answer, width)
    for tuner in found:
        say()
        say_wrapped("", f"{tuner.name}: {tuner.summary}")
        for answer in tried[tuner.name]:
            _say(answer, width)
    say()
    say(f"{SAMPLER}: Look at what they do")
    for answer in sampler:
        _say(answer, width)
    say()
    say(_WORDS[code][1])
    say_problems(problems)
    return code
