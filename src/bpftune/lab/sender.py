"""The process that sends: serves its flows and reports what TCP knows of them."""

from __future__ import annotations

import select
import signal
import time
from typing import TYPE_CHECKING

from bpftune.lab.child import begin, say
from bpftune.lab.flow import CONNECT_S, BurstFlow, Flow, RequestFlow, Stage
from bpftune.lab.transfers import DownloadFlow, TransferFlow

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
    from types import FrameType

KINDS: dict[str, type[Flow]] = {
    "bulk": Flow,
    "bursts": BurstFlow,
    "requests": RequestFlow,
    "transfers": TransferFlow,
    "downloads": DownloadFlow,
}
REPORT_S = 0.5
FLOWS_PER_REPORT_S = 800
"""More flows report less often: all they know is kept until the end."""


class Sender:
    """All flows of one traffic."""

    def __init__(self, flows: Sequence[Flow]) -> None:
        """Wait for the connections of *flows*."""
        self.flows = flows
        self.poll = select.epoll()
        self.awaited: dict[int, tuple[Flow, socket.socket, int]] = {}
        self.report_every_s = max(REPORT_S, len(flows) / FLOWS_PER_REPORT_S)
        self.report_s = time.monotonic() + self.report_every_s

    def wait_for(self, flow: Flow, wants: int) -> None:
        """Wait for these poll events of *flow*, as long as it has a socket."""
        number = flow.socket.fileno()
        if number < 0:
            return
        _, known, wanted = self.awaited.get(number, (None, None, 0))
        # The kernel forgets a closed descriptor, and the next socket may have
        # the same number.
        if known is not flow.socket:
            self.poll.register(number, wants)
        elif wanted != wants:
            self.poll.modify(number, wants)
        self.awaited[number] = (flow, flow.socket, wants)

    def arrange(self, flow: Flow) -> None:
        """Wait for what *flow* waits for now."""
        is_connecting = flow.stage is Stage.CONNECTING
        self.wait_for(flow, select.POLLOUT if is_connecting else flow.wants())

    def connect(self) -> None:
        """Wait until every flow is connected that begins now; none sends before."""
        for flow in self.flows:
            self.arrange(flow)
        end_s = time.monotonic() + CONNECT_S
        left = sum(flow.stage is Stage.CONNECTING for flow in self.flows)
        while left:
            now_s = time.monotonic()
            if now_s >= end_s:
                raise TimeoutError(f"{left} flows are not connected")
            for number, _ in self.poll.poll(end_s - now_s):
                flow = self.awaited[number][0]
                flow.established(time.monotonic())
                self.wait_for(flow, 0)
                left -= 1

    def serve(self) -> None:
        """Serve all flows for ever; report every *report_every_s*."""
        for flow in self.flows:
            self.arrange(flow)
        while True:
            next_s = min(self.report_s, *(flow.due_s for flow in self.flows))
            for number, what in self.poll.poll(max(0.0, next_s - time.monotonic())):
                self.came(self.awaited[number][0], what)
            now_s = time.monotonic()
            for flow in self.flows:
                if flow.due_s <= now_s:
                    self.time_came(flow, now_s)
            if now_s >= self.report_s:
                say("sent", t_s=now_s, flows=[flow.report() for flow in self.flows])
                self.report_s = max(self.report_s + self.report_every_s, now_s)

    def came(self, flow: Flow, what: int) -> None:
        """Let *flow* go on."""
        now_s = time.monotonic()
        if flow.stage is Stage.CONNECTING:
            flow.established(now_s)
        else:
            flow.ready(what, now_s)
        self.arrange(flow)

    def time_came(self, flow: Flow, now_s: float) -> None:
        """Let *flow* do what is due, or give up what takes too long."""
        if flow.stage is Stage.CONNECTING:
            raise TimeoutError(f"flow {flow.number} is not connected")
        flow.time_came(now_s)
        self.arrange(flow)


def main() -> None:
    """Send as planned until told to end."""
    plan = begin()

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kind = KINDS[plan["traffic"]]
    sender = Sender([kind(number, plan) for number in range(plan["flows"])])
    sender.connect()
    say("ready")
    sender.serve()


if __name__ == "__main__":
    main()
