"""What `rllib evaluate` makes of its folders, and the table that it prints."""

import re
from pathlib import Path

import pandas as pd
import pytest

from rllib_sami_cli.evaluate import summarise

MODELS = Path(__file__).parents[2] / "models"


def table_of(output):
    """The rows of the table; cells are two spaces apart or more, none is empty."""
    names, *rows = (re.split(" {2,}", line.strip()) for line in output.partition(" episodes in")[0].splitlines()[1:-1])
    return [dict(zip(names, row, strict=True)) for row in rows]


@pytest.mark.parametrize("episodes", ["1", "3"])
def test_the_table_shows_what_each_task_may_be(rllib, episodes):
    done = rllib("evaluate", MODELS / "saccm_pendulum", "--split", "extreme", "--episodes", episodes)
    assert done.exit_code == 0, done.output
    rows = table_of(done.stdout)
    assert [row["mass (kg)"] for row in rows] == ["0.2, 0.4", "1.6, 1.8", "-"]
    assert [row["length (m)"] for row in rows] == ["1.6, 1.8", "0.2, 0.4", "-"]
    assert {row["steps"] for row in rows} == {"200"}


def test_the_table_comes_before_the_films_and_learned_contexts_beside_zeros(rllib, tmp_path, monkeypatch):
    from rllib_sami.evaluation import video

    def film(*given):
        print("filmed")
        return [], []

    monkeypatch.setattr(video, "record", film)
    words = ("evaluate", MODELS / "saccm_point_goal", "--split", "train", "--episodes", "2", "--video", "--out", "it")
    out = rllib(*words).stdout
    assert out.index("± std") < out.index("with zeros in their place") < out.index("filmed") < out.index("Written")
    learned, zeroed = map(float, re.search(r"return (\S+) with its contexts, (\S+) with zeros", out).groups())
    assert learned > zeroed + 1
    assert "with zeros" not in rllib(*words, "--no-compare-zero").output
    monkeypatch.setattr("rllib_sami.algorithms.base.health.STANDARD_ERRORS", 1e6)
    assert "no clear difference. More `--episodes`" in rllib(*words[:6]).stdout
    monkeypatch.setattr("rllib_sami.algorithms.base.health.gain_of_contexts", lambda learned, zeroed: (-1.0, 0.1))
    done = rllib(*words[:6])
    assert "Warning: SaCCM, train, mean over episodes: return" in done.stderr
    assert "The contexts are of no use" in done.stderr
    monkeypatch.setattr(
        "rllib_sami.algorithms.base.health.gain_of_contexts", lambda learned, zeroed: (5.0, float("inf"))
    )
    assert "zeros in their place" not in rllib(*words[:6]).output  # of one pair of episodes there is nothing to say


def test_a_deviation_is_always_of_the_episodes_of_its_row():
    common = {"split": "train", "length": 3, "success": pd.NA}
    episodes = [common | {"task_id": task, "return": value} for task, value in ((0, 1), (0, 3), (1, 5), (1, 7))]
    rows = summarise(pd.DataFrame(episodes)).to_dict("records")
    assert [(row["task_id"], row["return"], row["std"]) for row in rows] == [(0, 2, 1), (1, 6, 1), ("all", 4, 5**0.5)]


def test_files_among_the_folders_are_skipped(rllib, refused):
    given = [MODELS / "README.md", MODELS / "saccm_point_goal"]
    done = rllib("evaluate", *given, "--split", "train", "--episodes", "1")
    assert done.exit_code == 0, done.output
    assert f"Skipped, not a folder: {given[0]}" in done.stderr
    assert "SaCCM on SaMI/PointGoal-v0" in done.stdout
    assert "README.md is no checkpoint" in refused("evaluate", given[0])


def test_a_misspelt_folder(refused, tmp_path):
    (tmp_path / "runs/ant/SaCCM_1").mkdir(parents=True)
    for given in ("runs/antt", "runs/antt/SaCCM_1"):
        assert f"{given}: no such folder. Did you mean 'ant'?" in refused("evaluate", given)
    assert "Did you mean 'saccm_half_cheetah_dir'?" in refused("evaluate", MODELS / "saccm_halfcheetah_dir")
