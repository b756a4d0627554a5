from __future__ import annotations

import pytest
from bench.matrix.plan import SETUP_S
from bench.matrix.show import Show


def test_progress_is_in_seconds_of_traffic(capsys: pytest.CaptureFixture[str]) -> None:
    with Show(100.0) as show:
        task = show.progress.tasks[0]
        told = show.begins("1/3 lan, none", 20.0)
        told(5.0, 90e6)
        assert task.completed == 5
        assert task.description == "1/3 lan, none: 90 Mbit/s"
        show.begins("2/3 lan, bpftune", 20.0)
        assert task.completed == 20 + SETUP_S
        show.skips(10.0)
        show.begins("3/3 [lan], x", 20.0)
        assert task.completed == 20 + 10 + 20 + 3 * SETUP_S
        show.say("[lan] ended")
    assert "[lan] ended" in capsys.readouterr().err
