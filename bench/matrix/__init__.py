"""The matrix: paths down, tuners across, each run paired with one without a tuner.

Plan, figures, table and the oracle's choice are pure; ``execute`` has them run.
"""
