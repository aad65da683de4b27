"""The files with one row per iteration, on results made by hand."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from rllib_sami_cli.logs import CsvLog, JsonLog


class Trial:
    """What the logs read of Tune's own; Tune copies the staging folder to the results now and then."""

    def __init__(self, folder):
        self.trial_id, self.config = "t", {}
        self.local_path = str(folder / "staging")
        self.results = folder / "results"
        self.storage = SimpleNamespace(trial_fs_path=str(self.results))
        self.latest_checkpoint_result = None

    def save(self, iteration):
        self.latest_checkpoint_result = SimpleNamespace(metrics={"training_iteration": iteration})

    def init_local_path(self):
        Path(self.local_path).mkdir(exist_ok=True)


@pytest.fixture
def trial(tmp_path):
    return Trial(tmp_path)


def table(trial):
    with open(trial.results / "progress.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def iterations(log, trial):
    if isinstance(log, CsvLog):
        return [int(row["training_iteration"]) for row in table(trial)]
    lines = (trial.results / "result.json").read_text().splitlines()
    return [json.loads(line)["training_iteration"] for line in lines]


def go(log, trial, *numbers):
    """Starts the trial, and reports iterations of these numbers."""
    log.on_trial_start(0, [trial], trial)
    for number in numbers:
        log.on_trial_result(0, [trial], trial, {"training_iteration": number, "value": 0.5})


def test_new_columns_are_added(trial):
    log = CsvLog()
    log.log_trial_result(0, trial, {"training_iteration": 1, "config": {"x": 1}})
    log.log_trial_result(0, trial, {"training_iteration": 2, "loss": {"critic": 0.5}})
    log.log_trial_result(0, trial, {"loss": {"critic": 0.4}, "training_iteration": 3})
    assert table(trial) == [
        {"training_iteration": "1", "loss/critic": ""},
        {"training_iteration": "2", "loss/critic": "0.5"},
        {"training_iteration": "3", "loss/critic": "0.4"},
    ]
    trial.save(2)
    log = CsvLog()
    log.log_trial_result(0, trial, {"loss": {"actor": 1, "critic": 0.3}, "training_iteration": 3})
    assert [row["training_iteration"] for row in table(trial)] == ["1", "2", "3"]
    assert table(trial)[-1] == {"training_iteration": "3", "loss/critic": "0.3", "loss/actor": "1"}


@pytest.mark.parametrize("kind", [CsvLog, JsonLog])
class TestOneRowPerIteration:
    def test_after_a_kill(self, kind, trial):
        """A row is in the results at once, not when Tune next copies; those after the checkpoint are done again."""
        go(kind(), trial, 1, 2, 3)
        assert iterations(kind(), trial) == [1, 2, 3]
        trial.save(2)
        go(log := kind(), trial, 3, 4)
        assert iterations(log, trial) == [1, 2, 3, 4]

    def test_after_a_kill_in_the_middle_of_a_row(self, kind, trial):
        go(log := kind(), trial, 1, 2, 3)
        path = trial.results / log._file
        path.write_bytes(path.read_bytes()[:-3])
        trial.save(2)
        go(log := kind(), trial, 3)
        assert iterations(log, trial) == [1, 2, 3]

    def test_after_a_kill_before_the_first_checkpoint(self, kind, trial):
        go(kind(), trial, 1, 2)
        go(log := kind(), trial, 1)
        assert iterations(log, trial) == [1]

    def test_after_a_failure_that_is_tried_again(self, kind, trial):
        go(log := kind(), trial, 1, 2, 3)
        trial.save(2)
        log.on_trial_recover(0, [trial], trial)
        go(log, trial, 3, 4)
        assert iterations(log, trial) == [1, 2, 3, 4]

    def test_after_a_pause(self, kind, trial):
        """What a paused trial goes on from may be in memory only, or another trial's: it loses nothing."""
        go(log := kind(), trial, 1, 2, 3)
        trial.save(2)
        go(log, trial, 4)
        assert iterations(log, trial) == [1, 2, 3, 4]
