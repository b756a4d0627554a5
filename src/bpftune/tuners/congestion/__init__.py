"""Congestion control per destination.

What the BPF program reads and writes is in ``maps``.
"""
