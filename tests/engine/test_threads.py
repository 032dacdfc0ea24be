"""Several threads: the first that fails stops all, and nobody goes on before all have ended."""

from __future__ import annotations

import _thread
import threading

import pytest

from ckptsurgeon.engine.threads import Stopped, run_all
from ckptsurgeon.errors import CkptSurgeonError


def test_the_first_that_fails_stops_the_others() -> None:
    ended: list[str] = []

    def fail(stopped: Stopped) -> None:
        raise ValueError("first")

    def go_on(stopped: Stopped) -> None:
        assert stopped.wait(10)
        ended.append("stopped")

    with pytest.raises(ValueError, match="first"):
        run_all([go_on, fail, go_on], 3)
    assert ended == ["stopped"] * 2


def test_no_room_for_another_thread_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under a limit of memory or of processes; what runs already is stopped."""
    ended: list[str] = []

    def go_on(stopped: Stopped) -> None:
        assert stopped.wait(10)
        ended.append("stopped")

    start, started = threading.Thread.start, []

    def start_once(thread: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_once)
    with pytest.raises(CkptSurgeonError, match=r"no room for 3 threads \(can't start"):
        run_all([go_on] * 3, 3)
    assert set(ended) == {"stopped"}


def test_all_have_ended_however_often_ctrl_c_comes() -> None:
    ended, waiting = threading.Event(), threading.Event()

    def go_on(stopped: Stopped) -> None:
        waiting.set()
        stopped.wait(10)
        for _ in range(20):  # while the one that waits is told again
            _thread.interrupt_main()
            threading.Event().wait(0.001)
        ended.set()

    def interrupted(stopped: Stopped) -> None:
        assert waiting.wait(10)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all([go_on], 1, here=interrupted)
    assert ended.is_set()
