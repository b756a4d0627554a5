"""``bpftune tuners`` and ``bpftune tunables``: what there is. No daemon needed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bpftune.cli.errors import ExitCode, sentence
from bpftune.cli.terminal import say, say_json, say_table, say_wrapped
from bpftune.kernel.bpf import BpfObject
from bpftune.kernel.errors import KernelError
from bpftune.kernel.netns import Namespaces
from bpftune.kernel.sysctl import Sysctls
from bpftune.text import one_line
from bpftune.tuners import Problem, discover, is_built_in

if TYPE_CHECKING:
    from bpftune.model import Tuner, Value


def say_problems(problems: list[Problem]) -> None:
    """Write what is wrong with tuners to standard error."""
    for problem in problems:
        text = sentence(f"tuner {problem.name} is left out: {problem.reason}")
        sys.stderr.write(one_line(text) + "\n")


def problems_for_machines(problems: list[Problem]) -> list[dict[str, str]]:
    """Return *problems* as JSON has them."""
    return [
        {"name": one_line(one.name), "reason": one_line(one.reason)} for one in problems
    ]


def programs(tuner: Tuner) -> list[str]:
    """Return the names of the tuner's BPF programs; those known, without libbpf."""
    if tuner.bpf_object is None:
        return []
    try:
        with BpfObject(tuner.bpf_object) as opened:
            return [program.name for program in opened.programs]
    except KernelError:
        return sorted(tuner.losses)


def tuners(*, json: bool = False) -> int:
    """List the tuners: name, summary, tunables and BPF programs."""
    found, problems = discover()
    listed: list[dict[str, object]] = [
        {
            "name": tuner.name,
            "summary": one_line(tuner.summary),
            "built_in": is_built_in(tuner),
            "tunables": [tunable.name for tunable in tuner.tunables],
            "programs": programs(tuner),
        }
        for tuner in found
    ]
    if json:
        say_json({"tuners": listed, "problems": problems_for_machines(problems)})
        return ExitCode.OK
    width = max((len(tuner.name) for tuner in found), default=0)
    for number, tuner in enumerate(found):
        if number:
            say()
        margin = " " * (width + 2)
        own = "" if is_built_in(tuner) else " (third-party)"
        say_wrapped(f"{tuner.name:<{width}}  ", tuner.summary + own)
        touched = ", ".join(tunable.name for tunable in tuner.tunables)
        say_wrapped(f"{margin}tunables: ", touched or "none of its own")
        say_wrapped(f"{margin}programs: ", ", ".join(programs(tuner)) or "none")
    say_problems(problems)
    return ExitCode.OK


def _read(sysctls: Sysctls, namespaces: Namespaces, name: str) -> Value | None:
    try:
        return sysctls.read(namespaces.host.cookie, name)
    except KernelError:
        return None


def tunables(*, json: bool = False) -> int:
    """List the tunables: name, tuner, value on the host, where they apply."""
    found, problems = discover()
    namespaces = Namespaces()
    sysctls = Sysctls(namespaces)
    rows = [
        (tunable, tuner, _read(sysctls, namespaces, tunable.name))
        for tuner in found
        for tunable in tuner.tunables
    ]
    if json:
        listed: list[dict[str, object]] = [
            {
                "tunable": tunable.name,
                "tuner": tuner.name,
                "value": value,
                "per_netns": tunable.per_netns,
            }
            for tunable, tuner, value in rows
        ]
        say_json({"tunables": listed, "problems": problems_for_machines(problems)})
        return ExitCode.OK
    say_table(
        ("TUNABLE", "TUNER", "APPLIES TO", "VALUE ON THE HOST"),
        [
            (
                tunable.name,
                tuner.name,
                "each netns" if tunable.per_netns else "the host",
                "not here" if value is None else " ".join(map(str, value)),
            )
            for tunable, tuner, value in rows
        ],
    )
    say_problems(problems)
    return ExitCode.OK
