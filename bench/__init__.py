"""Benchmarks: claims of benefit and cost, measured side by side."""
