"""Environments that are slow, hang, or never end their episodes, outside of training."""

import contextlib
import logging
import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from rllib_sami.core import faults
from rllib_sami.core.faults import EnvironmentFaultError, Watch, trying
from rllib_sami.env_runners.episodes import NUM_SLOTS, EpisodeSpec
from rllib_sami.env_runners.player import Player
from rllib_sami.envs import ENVIRONMENTS


def watch(timeout_s=0.1, **more):
    return Watch("Reef", timeout_s, "evaluation_sample_timeout_s", **more)


class Clock:
    """Time as the watches see it: it passes only when told to, however slow the machine is."""

    def __init__(self):
        self.now, self.looks = 1000.0, 0

    def monotonic(self):
        self.looks += threading.current_thread().name == "rllib_sami-watch"
        return self.now

    def wait(self, seconds):
        """Lets time pass, and the watch see it: of three looks one begins and ends here."""
        self.now += seconds
        seen, end = self.looks + 3, time.monotonic() + 60
        while self.looks < seen:
            assert time.monotonic() < end, "nothing watches"
            time.sleep(0.001)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(faults, "time", clock)
    return clock


@pytest.fixture
def heard(caplog):
    caplog.set_level(logging.WARNING, "rllib_sami")
    return lambda: [record.getMessage() for record in caplog.records]


def hang(clock, one, times=1):
    """Steps and hangs under a watch; what stops it is swallowed but the last time."""
    with one:
        one.step(7)
        clock.wait(0.9 * faults.ROUNDS_OF_PATIENCE * 0.1)  # it is not stopped yet
        one.step(7)
        for _ in range(times - 1):
            with contextlib.suppress(EnvironmentFaultError):
                clock.now += 1
                time.sleep(60)
        clock.now += 1
        time.sleep(60)


def test_a_call_that_hangs_is_told_and_then_stopped(clock, heard):
    with pytest.raises(EnvironmentFaultError, match=r"'Reef'.*\(split own, episode 2\).*has 7 steps.*It hangs.*raise"):
        hang(clock, watch(where=lambda: "split own, episode 2"))
    [warning] = heard()
    assert "'Reef'" in warning
    assert "It continues. If its episodes do not end by themselves" in warning
    assert "gymnasium.wrappers.TimeLimit" in warning
    assert "`evaluation_sample_timeout_s` (0.1)" in warning


def test_one_that_goes_on_in_spite_of_it_is_stopped_again(clock):
    with pytest.raises(EnvironmentFaultError, match="It hangs"):
        hang(clock, watch(), times=2)


def test_what_is_slow_but_steps_goes_on(clock, heard):
    with watch() as one:
        for steps in range(1, 5):  # each takes longer than an episode should, and less than a call may
            clock.wait(0.4)
            one.step(steps)
    assert len(heard()) == 1


def test_environments_that_are_slow_to_make_are_not_taken_for_one_that_hangs(clock):
    def make(slot):
        clock.wait(0.4)
        return ENVIRONMENTS["SaMI/Pendulum-v0"](max_steps=2)

    agent = SimpleNamespace(reset=lambda *given: None, act=lambda slots, live: np.zeros((NUM_SLOTS, 1)), contexts=None)
    jobs = [EpisodeSpec("own", 0, number, number, 0) for number in range(3)]
    assert len(Player(make, name="Reef", timeout_s=0.1).play(agent, jobs)) == 3


def test_an_episode_without_an_end_is_stopped_unless_it_is_meant_to_be_long(clock):
    with watch() as one:
        one.step(faults.LONGEST_EPISODE + 1)  # it may be fast
        clock.now += 0.3
        one.allow(2 * faults.LONGEST_EPISODE)
        one.step(faults.LONGEST_EPISODE + 1)
        one.episode()
        one.allow(None)
        one.step(faults.LONGEST_EPISODE + 1)
        clock.now += 0.3
        one.step(faults.LONGEST_EPISODE)
        with pytest.raises(EnvironmentFaultError, match=r"100,001 steps.*seems to be endless.*TimeLimit"):
            one.step(faults.LONGEST_EPISODE + 1)


def test_without_a_limit_nothing_is_watched(heard):
    before = set(threading.enumerate())
    with watch(None) as one:
        assert set(threading.enumerate()) <= before
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


def test_an_alarm_that_comes_when_the_call_has_come_back_is_too_late():
    class Lock:  # the watch sends its alarm while the end of the block waits for it
        def __enter__(self):
            one._stopped = "It hangs."
            signal.raise_signal(signal.SIGALRM)

        def __exit__(self, *exc_info):
            one._stopped = "It hangs."

    former = signal.getsignal(signal.SIGALRM)
    with watch(60) as one:
        one._lock = Lock()
    assert one._is_over.is_set()
    assert one._stopped is None
    assert signal.getsignal(signal.SIGALRM) is former


def test_an_alarm_just_before_the_end_leaves_nothing_behind():
    class IsOver(threading.Event):
        alarms = iter([True, False])

        def set(self):
            if next(self.alarms):
                one._stopped = "It hangs."
                signal.raise_signal(signal.SIGALRM)
            super().set()

    former, one = signal.getsignal(signal.SIGALRM), watch(60)
    one.__enter__()
    one._is_over.set()  # ends its thread
    one._is_over = IsOver()
    with pytest.raises(EnvironmentFaultError, match="It hangs"):
        one.__exit__()
    assert one._is_over.is_set()
    assert signal.getsignal(signal.SIGALRM) is former


def test_in_another_thread_there_is_a_warning(clock, heard):
    def be_slow():
        with watch():
            clock.wait(1)

    thread = threading.Thread(target=be_slow)
    thread.start()
    thread.join()
    assert len(heard()) == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("fish"), "KeyError: 'fish'"),
        (SystemExit(3), r"it called sys.exit\(3\)"),
        (ValueError(), "ValueError$"),
    ],
    ids=repr,
)
def test_what_is_tried_is_named(error, words):
    words = rf"The environment 'Reef' failed \(reset\): {words}"
    with pytest.raises(EnvironmentFaultError, match=words), trying("Reef", "reset", 60, "sample_timeout_s"):
        raise error
