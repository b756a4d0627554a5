"""Read OpenMetrics text as Prometheus itself does."""

from __future__ import annotations

from typing import cast

from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser


def read(text: str) -> dict[str, Metric]:
    """Return the families in *text* by name; raises ValueError if it is none."""
    families = parser.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    return {family.name: family for family in cast("list[Metric]", list(families))}
