"""Which tests run in an emulated machine: all, or parts that fit the time."""

from __future__ import annotations

PYTEST = (".venv/bin/python", "-m", "pytest", "-p", "no:cacheprovider", "-q")

# Does everything load, at what it did cost, and do facts arrive?
SMOKE = (
    "tests/kernel/test_budget.py",
    "tests/kernel/test_features.py",
    "tests/kernel/test_sysctl_hook.py",
)

# What goes by the kernel's own: hooks, iterators, fields, what helpers may do.
PART = (
    *SMOKE,
    "tests/kernel/test_bpf_header.py",
    "tests/kernel/test_congestion.py",
    "tests/kernel/test_congestion_left_alone.py",
    "tests/kernel/test_loader.py",
    "tests/kernel/test_netns.py",
    "tests/kernel/test_sockets.py",
    "tests/kernel/test_sockets_again.py",
    "tests/kernel/test_sockets_receivers.py",
    "tests/kernel/test_sysctl.py",
    "tests/kernel/test_transfers.py",
    "tests/system/test_admin.py",
    "tests/system/test_settings.py",
    "tests/system/test_daemon.py::"
    "test_raises_what_holds_back_a_sender_older_than_the_daemon[4-None]",
    "tests/system/test_daemon.py::"
    "test_raises_what_holds_back_receivers_that_live_and_that_come[4-None-None]",
    # A second there takes five of a processor's; these take most and find least.
    "--deselect=tests/kernel/test_congestion.py::"
    "test_who_found_no_sums_is_told_of_the_next",
    "--deselect=tests/kernel/test_congestion.py::"
    "test_short_connections_cost_eleven_runs_and_bulk_less_than_one_per_mb",
    "--deselect=tests/system/test_settings.py::"
    "test_what_is_the_admins_stays_so_over_restarts",
)
ALL = ("tests/kernel", "tests/system")

LISTS = (
    "cp /sys/kernel/btf/vmlinux /run/vm/btf && "
    ".venv/bin/python -m tests.vm.budget >/run/vm/programs"
)

COMMANDS = {
    "smoke": (*PYTEST, *SMOKE),
    "part": (*PYTEST, *PART),
    "all": (*PYTEST, *ALL),
    "lists": ("sh", "-c", LISTS),
}
