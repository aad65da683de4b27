"""How evaluation runners are called: which is slow, which hangs, which is lost. No Ray is started."""

import logging
from types import SimpleNamespace

import pytest
import ray

from rllib_sami.compat import call_on_runners, evaluation


class Clock:
    """Time as the caller sees it: it passes only when told to, however slow the machine is."""

    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(evaluation, "time", clock)
    return clock


class Group:
    """Runners ``1..n`` that answer what ``answer(runner_id, number, again)`` returns; None is no answer at all."""

    def __init__(self, answer, runners=2):
        self.answer, self.asked, self._replies = answer, [], []
        self.healthy, self.busy = list(range(1, runners + 1)), set()
        self._worker_manager = SimpleNamespace(fetch_ready_async_reqs=self._fetch, actors=dict)

    def healthy_env_runner_ids(self):
        return self.healthy

    def foreach_env_runner_async(self, function, tag, kwargs, remote_worker_ids):
        [runner_id] = remote_worker_ids
        if runner_id in self.busy:
            return 0
        self.asked.append((runner_id, kwargs["number"], kwargs["again"]))
        round_and_number, answer = function(None, **kwargs, runner_id=runner_id, group=self)
        if answer is None:
            self.busy.add(runner_id)
        else:
            reply = (round_and_number, None if answer == "more" else answer)
            self._replies.append(SimpleNamespace(ok=True, actor_id=runner_id, get=lambda: reply))
        return 1

    def _fetch(self, tags, timeout_seconds):
        evaluation.time.now += 0.01
        replies, self._replies = self._replies, []
        return replies


def ask(runner, number, again, runner_id, group):
    return group.answer(runner_id, number, again)


def call(group, count, timeout_s=0.2):
    return call_on_runners(group, ask, [{"number": number} for number in range(count)], timeout_s)


def test_what_takes_long_goes_on_where_it_was_begun(clock):
    left = {0: 5, 1: 0, 2: 3}
    began = {}

    def answer(runner_id, number, again):
        clock.now += 0.06  # all together it takes longer than an answer may
        assert began.setdefault(number, runner_id) == runner_id
        assert again == (number in answered)
        answered.add(number)
        left[number] -= 1
        return "more" if left[number] >= 0 else f"result {number}"

    answered = set()
    assert call(Group(answer), 3) == ["result 0", "result 1", "result 2"]


def test_what_a_lost_runner_was_at_is_begun_again_by_another():
    def answer(runner_id, number, again):
        if runner_id == 1 and again:
            group.healthy = [2]
            return None
        return "more" if runner_id == 1 else f"result {number} {again}"

    group = Group(answer)
    assert call(group, 2) == ["result 0 False", "result 1 False"]


@pytest.mark.parametrize("alone", [False, True])
def test_a_runner_that_hangs_is_ended_when_it_still_does_at_the_next_evaluation(monkeypatch, caplog, alone):
    killed = []
    monkeypatch.setattr(ray, "kill", lambda actor, no_restart: killed.append((actor, no_restart)))
    group = Group(lambda runner_id, number, again: None if runner_id == 1 else f"result {number}")
    group._worker_manager.actors = lambda: {1: "one", 2: "two"}
    with caplog.at_level(logging.WARNING, "rllib_sami"):
        assert call(group, 2) == [None, "result 1"]
        assert killed == []
        if alone:
            group.healthy = [1]
        assert call(group, 2) == ([None, None] if alone else ["result 0", "result 1"])
    assert killed == ([("one", False)] if alone else [])
    assert ("Evaluation runner 1 has not answered" in caplog.text) is alone
