"""What can go wrong in the laboratory, and where it keeps its notes."""

from __future__ import annotations

from pathlib import Path

RUN = Path("/run/bpftune-lab")


class LabError(Exception):
    """The laboratory could not be set up or used; says what and why.

    LabError
    |- NotPermittedError       not root
    |- NotSupportedError       no TUN devices here
    |- values.ValueTextError   a value is not written as expected
    |- scenario.ScenarioError no such scenario or parameter
    `- contender.ContenderError  the tuner under test failed
    """


class NotPermittedError(LabError):
    """The laboratory needs root."""


class NotSupportedError(LabError):
    """The kernel or machine lacks something the laboratory needs."""
