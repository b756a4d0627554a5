"""What is noted of each record before it is told, for those who ask later."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from bpftune.metrics import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bpftune.advice import Book
    from bpftune.records import Record


class Notes:
    """Stands before the sink: advice goes into *book*, numbers into *tally*."""

    def __init__(self, tell: Callable[[Record], None], book: Book) -> None:
        """Pass records on to *tell*, but for advice that the admin ignores."""
        self._tell = tell
        self._caught: list[Record] | None = None
        self.book = book
        self.tally = Tally()

    def hear(self, record: Record) -> None:
        """Note *record* and pass it on."""
        self.tally.hear(record)
        if self._caught is not None:
            self._caught.append(record)
        advice = self.book.note(record)
        if advice is None or not advice.ignored:
            self._tell(record)

    @contextmanager
    def catching(self) -> Iterator[list[Record]]:
        """Collect what is told meanwhile, in the list that is given."""
        before, self._caught = self._caught, []
        try:
            yield self._caught
        finally:
            self._caught = before
