"""What each method of the interface does: ``reading`` looks, ``changing`` changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from bpftune.control import interface, past
from bpftune.control.client import GoneError
from bpftune.control.errors import answered
from bpftune.control.framing import STANDARD, Call, CallError, reply, reply_in_pieces
from bpftune.control.redact import redacted
from bpftune.kernel.errors import KernelError
from bpftune.records import Record
from bpftune.text import one_line, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bpftune.control.changing import Changing
    from bpftune.control.reading import Reading
    from bpftune.control.view import Shape

    Method = Callable[..., Iterator[Shape | None]]

URL = "https://varlink.org"


class Service:
    """Finds the method for a call, checks who calls, hides what they may not see."""

    def __init__(
        self,
        version: str,
        looks: Reading,
        changes: Changing,
        tell: Callable[[Record], None],
    ) -> None:
        """Answer with *looks* and, for those who may, *changes*."""
        self._version = version
        self._tell = tell
        self._description = interface.FILE.read_text("utf-8")
        self._expected = interface.methods(self._description)
        self._standard = interface.methods(interface.STANDARD_DESCRIPTION)
        self._looks: dict[str, Method] = {}
        self._changes: dict[str, Method] = {}
        for name in self._expected:
            attribute = name.lower()
            if hasattr(changes, attribute):
                self._changes[name] = getattr(changes, attribute)
            elif hasattr(looks, attribute):
                self._looks[name] = getattr(looks, attribute)

    def is_watch(self, call: Call) -> bool:
        """Tell whether *call* asks for all records from now on."""
        return call.method == f"{interface.NAME}.Watch"

    def answer(self, call: Call, *, trusted: bool) -> Iterator[bytes | None]:
        """Yield the pieces of the reply, and None where the daemon may go on.

        Raises CallError, and GoneError if the rest of a reply cannot be had.
        """
        space, _, name = call.method.rpartition(".")
        if space == STANDARD:
            yield reply(self._about_itself(name, call))
            return
        if space != interface.NAME:
            raise CallError(f"{STANDARD}.InterfaceNotFound", interface=printable(space))
        if name not in self._expected:
            raise CallError(f"{STANDARD}.MethodNotFound", method=printable(name))
        interface.check(self._expected[name], call.parameters)
        if name == "Watch":
            if not call.more or call.oneway:
                raise CallError(f"{STANDARD}.ExpectedMore")
            return
        method = self._method(name, trusted=trusted)
        about = call.parameters.get("about", "")
        if not trusted and past.is_destination(about):
            raise answered("NotPermitted", "only root may ask about a destination")
        yield from self._pieces(name, method, call, trusted=trusted)

    def _method(self, name: str, *, trusted: bool) -> Method:
        """Return what answers, if the caller may have it answered."""
        if name in self._looks:
            return self._looks[name]
        if name not in self._changes:
            raise CallError(f"{STANDARD}.MethodNotImplemented", method=name)
        if not trusted:
            why = "only root and members of the group bpftune change anything"
            raise answered("NotPermitted", why)
        return self._changes[name]

    def _pieces(
        self, name: str, method: Method, call: Call, *, trusted: bool
    ) -> Iterator[bytes | None]:
        """Go through *method*; no mistake in it ends the daemon."""
        has_begun = False
        try:
            for shape in method(**call.parameters):
                if shape is None:
                    yield None
                    continue
                for piece in reply_in_pieces(shape, _all if trusted else redacted):
                    has_begun = has_begun or piece is not None
                    yield piece
        except CallError:
            raise
        except KernelError as error:
            if has_begun:
                self._break_off(f"{name} broke off: {error}", error)
            raise answered("Refused", str(error)) from error
        except Exception as error:
            why = f"{name} failed: {type(error).__name__}: {error}"
            if has_begun:
                self._break_off(why, error)
            self._tell(Record("degraded", one_line(why)))
            raise answered("Refused", why) from error

    def _break_off(self, why: str, error: Exception) -> NoReturn:
        """Send the client away: in the middle of a reply no error can be sent."""
        self._tell(Record("degraded", one_line(why)))
        raise GoneError(why) from error

    def _about_itself(self, name: str, call: Call) -> Shape:
        if name not in self._standard:
            raise CallError(f"{STANDARD}.MethodNotFound", method=printable(name))
        interface.check(self._standard[name], call.parameters)
        if name == "GetInfo":
            return {
                "vendor": "bpftune",
                "product": "bpftune",
                "version": self._version,
                "url": URL,
                "interfaces": [STANDARD, interface.NAME],
            }
        wanted = str(call.parameters["interface"])
        texts = {
            STANDARD: interface.STANDARD_DESCRIPTION,
            interface.NAME: self._description,
        }
        if wanted not in texts:
            raise CallError(
                f"{STANDARD}.InterfaceNotFound", interface=printable(wanted)
            )
        return {"description": texts[wanted]}


def _all(thing: object) -> object:
    """Hide nothing."""
    return thing
