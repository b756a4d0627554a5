"""The soak itself: lives and acts as planned, a look now and then, a judgement."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from tests.soak.acts import Acts
from tests.soak.judge import Judgement, judge
from tests.soak.lives import Lived, Lives
from tests.soak.outside import differences, host_sysctls
from tests.soak.reader import HEADER
from tests.soak.schedule import Act, Life, Plan, plan
from tests.soak.world import World
from tests.system.daemon import wait_until
from tests.system.installed import installed

from bpftune.lab.errors import LabError

COUNTED = Path(__file__).with_name("counted")
LOOK_S = 5.0
LEAST_LOOKS = 60
"""In the calm life of a short soak."""

LATE_S = 10.0
"""An act that is so late is left out, since the machine has too much to do."""

MOST_FAILURES = 200


@dataclass
class Failure:
    """Something wrong: when it was first, how often, what was said just before."""

    first_s: float
    times: int = 0
    heard: tuple[str, ...] = ()


@dataclass
class Result:
    """What came of a soak of *seconds*, as *seed* had it."""

    seed: int
    seconds: float
    lived: list[Lived] = field(default_factory=list)
    judgements: list[Judgement] = field(default_factory=list)
    failures: dict[str, Failure] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    late: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    rolled_back: int = 0
    overlooked: int = 0


Tell = Callable[[float, Result], None]


class Soak:
    """One soak; *tell* hears how far it is."""

    def __init__(self, seed: int, seconds: float, tell: Tell) -> None:
        """Plan it."""
        self.result = Result(seed, seconds)
        self.plan: Plan = plan(seed, seconds)
        self._tell = tell
        self._acts = list(reversed(self.plan.acts))
        self._began_s = time.monotonic()
        self._lives: Lives | None = None

    def fail(self, why: str) -> None:
        """Note what is wrong; the soak goes on."""
        failures = self.result.failures
        if why not in failures and len(failures) < MOST_FAILURES:
            heard = self._lives.latest() if self._lives is not None else ()
            failures[why] = Failure(self.now_s, heard=tuple(heard))
        if why in failures:
            failures[why].times += 1

    def run(self) -> Result:
        """Run until the time is over; what was made is gone then."""
        host = host_sysctls()
        with ExitStack() as stack:
            made = stack.enter_context(tempfile.TemporaryDirectory(prefix="bpftune-"))
            run_dir = Path(made)
            site = stack.enter_context(installed(COUNTED, HEADER))
            world = stack.enter_context(World(run_dir, self.fail))
            lives = self._lives = Lives(world, run_dir, site, self.fail)
            self.result.lived, self.result.kinds = lives.lived, lives.kinds
            acts = Acts(world)
            self.result.done = acts.done
            self._began_s = time.monotonic()
            try:
                for life in self.plan.lives:
                    self._live(life, lives, acts, world)
            except KeyboardInterrupt:
                self.fail("it was interrupted")
            finally:
                lives.end()
            lives.roll_back()
            self.result.rolled_back = lives.rolled_back
            self.result.overlooked = acts.admin.overlooked
        if not wait_until(lambda: not differences(host, host_sysctls()), 10, 1.0):
            for text in differences(host, host_sysctls()):
                self.fail(text)
        self._judge()
        return self.result

    def _judge(self) -> None:
        calm = [one.samples for one in self.result.lived if one.life.calm]
        self.result.judgements = judge(calm)
        for judgement in self.result.judgements:
            if wrong := judgement.wrong(self.result.seconds):
                self.fail(wrong)

    # --- time --------------------------------------------------------------------

    @property
    def now_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began_s

    def _live(self, life: Life, lives: Lives, acts: Acts, world: World) -> None:
        if self.now_s > life.until_s and not life.calm:
            return  # what came before took too long
        lives.begin(life)
        acts.admin.begins_anew()
        look_s = LOOK_S
        if life.calm:
            look_s = min(LOOK_S, life.seconds / LEAST_LOOKS)
        next_look_s = self.now_s
        while (now_s := self.now_s) < life.until_s:
            if world.bout is not None and time.monotonic() > world.bout.until_s:
                world.end_bout()
            while self._acts and self._acts[-1].at_s <= now_s:
                self._act(self._acts.pop(), acts)
            lives.hear()
            if now_s >= next_look_s:
                lives.look()
                self._tell(now_s, self.result)
                next_look_s = max(next_look_s + look_s, self.now_s)
            due_s = [next_look_s, life.until_s]
            due_s += [self._acts[-1].at_s] if self._acts else []
            Event().wait(max(0.0, min(due_s) - self.now_s))
        acts.clients.hang_up()
        lives.end()
        if life.roll_back:
            world.renew_all()

    def _act(self, act: Act, acts: Acts) -> None:
        if self.now_s - act.at_s > LATE_S:
            self.result.late += 1
            return
        try:
            acts.do(act)
        except LabError:  # such as traffic that does not begin in time
            self.result.late += 1
        except (AssertionError, OSError) as error:
            self.fail(f"{act.kind}: {type(error).__name__}: {error}")
