"""Environments that are slow, hang, or never end their episodes, outside of training."""

import contextlib
import logging
import signal
import threading
import time

import pytest

from rllib_sami import faults
from rllib_sami.faults import EnvironmentFaultError, Watch, trying


def watch(timeout_s=0.1, **more):
    return Watch("Reef", timeout_s, "evaluation_sample_timeout_s", **more)


@pytest.fixture
def heard(caplog):
    caplog.set_level(logging.WARNING, "rllib_sami")
    return lambda: [record.getMessage() for record in caplog.records]


def hang(one, times=1):
    """Steps and sleeps under a watch; what stops it is swallowed but the last time."""
    with one:
        one.step(7)
        for _ in range(times - 1):
            with contextlib.suppress(Exception):
                time.sleep(60)
        time.sleep(60)


def test_a_call_that_hangs_is_told_and_then_stopped(heard):
    started = time.monotonic()
    with pytest.raises(EnvironmentFaultError, match=r"'Reef'.*\(split own, episode 2\).*has 7 steps.*It hangs.*raise"):
        hang(watch(where=lambda: "split own, episode 2"))
    assert faults.ROUNDS_OF_PATIENCE * 0.1 < time.monotonic() - started < 30
    [warning] = heard()
    assert "'Reef'" in warning
    assert "It goes on. If its episodes do not end by themselves" in warning
    assert "gymnasium.wrappers.TimeLimit" in warning
    assert "`evaluation_sample_timeout_s` (0.1)" in warning


def test_one_that_goes_on_in_spite_of_it_is_stopped_again():
    with pytest.raises(EnvironmentFaultError, match="It hangs"):
        hang(watch(0.05), times=2)


def test_what_is_slow_but_steps_goes_on(heard):
    with watch() as one:
        for steps in range(1, 9):  # each takes longer than an episode should, and less than a call may
            time.sleep(0.15)
            one.step(steps)
    assert len(heard()) == 1


def test_an_episode_without_an_end_is_stopped_unless_it_is_meant_to_be_long():
    with watch() as one:
        one.step(faults.LONGEST_EPISODE + 1)  # it may be fast
        time.sleep(0.3)
        one.allow(2 * faults.LONGEST_EPISODE)
        one.step(faults.LONGEST_EPISODE + 1)
        one.episode()
        one.allow(None)
        one.step(faults.LONGEST_EPISODE + 1)
        time.sleep(0.3)
        one.step(faults.LONGEST_EPISODE)
        with pytest.raises(EnvironmentFaultError, match=r"100,001 steps.*one without an end.*TimeLimit"):
            one.step(faults.LONGEST_EPISODE + 1)


def test_without_a_limit_nothing_is_watched(heard):
    before = threading.active_count()
    with watch(None) as one:
        assert threading.active_count() == before
        one.step(10 * faults.LONGEST_EPISODE)
    assert heard() == []


def test_alarms_of_others_are_heard_before_during_and_after(monkeypatch):
    alarms = []
    former = signal.signal(signal.SIGALRM, lambda *given: alarms.append(given))
    try:
        with watch(60), watch(60):
            signal.raise_signal(signal.SIGALRM)
        signal.raise_signal(signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, former)
    assert len(alarms) == 2


def test_in_another_thread_there_is_a_warning(heard):
    def be_slow():
        with watch(0.05):
            time.sleep(0.6)

    thread = threading.Thread(target=be_slow)
    thread.start()
    thread.join()
    assert len(heard()) == 1


def test_what_is_tried_is_named():
    words = r"The environment 'Reef' failed \(reset\): KeyError: 'fish'"
    with pytest.raises(EnvironmentFaultError, match=words), trying("Reef", "reset", 60, "sample_timeout_s"):
        raise KeyError("fish")
