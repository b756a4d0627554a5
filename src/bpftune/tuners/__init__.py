"""The tuners, built in and third-party: how they are found and loaded.

A tuner is an object ``bpftune.model.Tuner`` in a module. A third-party one is
any installed distribution with an entry point of group ``bpftune.tuners``.
Both come through the same door, ``load``.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from bpftune import trust
from bpftune.model import Event, Tunable, Tuner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

GROUP = "bpftune.tuners"
BUILT_IN = (
    "bpftune.tuners.sysctl:tuner",
    "bpftune.tuners.tcp_buffer:tuner",
    "bpftune.tuners.congestion:tuner",
)

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a tuner is not there: *name* is its entry point, *reason* a sentence."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """Where a tuner is to be found: *reference* is ``module:attribute``."""

    name: str
    reference: str
    file: Path


class RefusedError(Exception):
    """A tuner cannot be taken; the message says why."""


def beside(module_file: str, name: str) -> Path:
    """Return the path of *name* beside a module: ``beside(__file__, "x.bpf.o")``."""
    return Path(module_file).resolve().parent / name


def is_built_in(tuner: Tuner) -> bool:
    """Tell whether *tuner* is one of bpftune's own; nobody else has their names."""
    return any(tuner.name == _module_of(one).rpartition(".")[2] for one in BUILT_IN)


def _module_of(reference: str) -> str:
    return reference.partition(":")[0]


def entry_points(text: str, group: str) -> Iterator[tuple[str, str]]:
    """Yield name and reference of each entry point of *group* in *text*.

    *text* is that of an ``entry_points.txt``. importlib.metadata could read it
    too, at the price of 6.6 MB that the daemon would keep for ever.
    """
    section = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("["):
            section = line.strip("[]").strip()
        elif section == group and "=" in line and line[0] not in "#;":
            name, _, reference = line.partition("=")
            # "module:attribute [extra]": extras mean nothing at run time.
            yield name.strip(), reference.partition("[")[0].strip()


def installed(paths: Sequence[str]) -> Iterator[EntryPoint]:
    """Yield the entry points of the distributions in the directories *paths*.

    The first of several distributions of a name hides the others, as it does
    for imports. Relative paths, such as the current directory, are left out.
    """
    seen = set()
    for directory in map(Path, paths):
        if not directory.is_absolute():
            continue
        for file in sorted(directory.glob("*.dist-info/entry_points.txt")):
            distribution = file.parent.name.partition("-")[0].lower()
            if distribution in seen:
                continue
            seen.add(distribution)
            try:
                text = file.read_text("utf-8", "replace")
            except OSError:
                continue
            for name, reference in entry_points(text, GROUP):
                yield EntryPoint(name, reference, file)


def load(reference: str) -> Tuner:
    """Import ``module:attribute`` and return the tuner that it names.

    Raises ``RefusedError`` whatever goes wrong in there.
    """
    module, _, attribute = reference.partition(":")
    try:
        tuner = getattr(import_module(module), attribute)
    except (Exception, SystemExit) as error:
        # Whatever a module does when it is imported costs that tuner only.
        raise RefusedError(
            f"{reference} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(tuner, Tuner):
        raise RefusedError(f"{reference} is no bpftune.model.Tuner")
    if not isinstance(tuner.name, str) or not _NAME.fullmatch(tuner.name):
        raise RefusedError(
            f"{tuner.name!r} is no name for a tuner: lower-case letters, digits, "
            "_ and -, at most 32"
        )
    if not all(isinstance(one, Tunable) for one in tuner.tunables):
        raise RefusedError("its tunables are not all bpftune.model.Tunable")
    if not all(isinstance(e, type) and issubclass(e, Event) for e in tuner.events):
        raise RefusedError("its events are not all classes of bpftune.model.Event")
    if tuner.bpf_object is not None and not tuner.bpf_object.exists():
        raise RefusedError(
            f"{tuner.bpf_object} is missing: compile it (python -m bpftune.compile "
            f"{tuner.bpf_object.parent})"
        )
    return tuner


def _components(entry: EntryPoint) -> Iterator[trust.Component]:
    """Yield all files that loading *entry* may run, before anything runs."""
    yield from trust.on_the_way_to(entry.file)
    yield from trust.within(entry.file.parent)
    # Looking for "a.b" would import "a"; looking for "a" imports nothing.
    top = _module_of(entry.reference).partition(".")[0]
    for finder in sys.meta_path:
        spec = finder.find_spec(top, None)
        if spec is not None:
            break
    else:
        raise RefusedError(f"no module {top} is installed")
    packages = list(map(Path, spec.submodule_search_locations or ()))
    for place in packages or [Path(spec.origin or "")]:
        yield from trust.on_the_way_to(place)
        yield from trust.within(place)
        # In its directory another module could be put before it.
        yield trust.search_directory(place.parent)


def _load_foreign(entry: EntryPoint) -> Tuner:
    own = trust.own_writers()
    try:
        reason = trust.why_not(_components(entry), own)
        if not reason:
            tuner = load(entry.reference)
            if tuner.bpf_object is not None:
                reason = trust.why_not(trust.on_the_way_to(tuner.bpf_object), own)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
    if reason:
        raise RefusedError(reason)
    return tuner


def discover(paths: Sequence[str] | None = None) -> tuple[list[Tuner], list[Problem]]:
    """Return all tuners, the built-in ones first, and what is wrong with others.

    *paths* are the directories with installed distributions, by default
    ``sys.path``. One broken tuner costs no other.
    """
    tuners: dict[str, Tuner] = {}
    problems = []
    own = [EntryPoint(_module_of(one), one, Path()) for one in BUILT_IN]
    foreign = sorted(
        installed(sys.path if paths is None else paths),
        key=lambda entry: (entry.name, entry.file),
    )
    for entry in [*own, *foreign]:
        try:
            tuner = load(entry.reference) if entry in own else _load_foreign(entry)
            if tuner.name in tuners:
                raise RefusedError(f"there is a tuner {tuner.name} already")  # noqa: TRY301 - as all others
        except RefusedError as error:
            problems.append(Problem(entry.name, str(error)))
        else:
            tuners[tuner.name] = tuner
    return list(tuners.values()), problems
