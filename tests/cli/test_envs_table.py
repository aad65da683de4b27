"""`rllib envs`: every environment in one table, the meta-tasks of one in another."""

import re
import sys

import pytest

from rllib_sami import envs
from rllib_sami.envs.factors import Factor, PartsFactor, VectorFactor


class Unbuildable(envs.MetaTaskEnv):
    """Cannot be built here [not even once].

    More words.
    """

    factors = (
        Factor("weight", 1.0, 5.0, "kg"),
        VectorFactor("scales", components=tuple("abcdefg")),
        PartsFactor(parts=("hip", "knee")),
        Factor("unused"),
    )
    splits = {  # noqa: RUF012
        "train": ({"weight": (0.5, 2)}, {"cripple": [(0, 1), ()]}),
        "extreme": ({"scales": (0.31, 1, 1, 1, 1, 1, 3.2)},),
    }
    default_max_steps = 50

    def __init__(self, *args, **kwargs):
        raise ImportError("not installed")


@pytest.fixture
def unbuildable(monkeypatch):
    monkeypatch.setitem(envs.ENVIRONMENTS, "SaMI/Unbuildable-v0", Unbuildable)


def test_every_environment_is_listed_without_building_any(rllib, unbuildable, monkeypatch):
    for name in ("pybullet", "panda_gym"):
        monkeypatch.setitem(sys.modules, name, None)
    result = rllib("envs")
    assert result.exit_code == 0, result.output
    listed = {
        line.split()[0]: line
        for line in result.output.splitlines()
        if line.startswith(("SaMI/", "Skills/", "Reuse/", "Maze/", "Manipulation/", "Kitchen/"))
    }
    assert set(listed) == set(envs.ENVIRONMENTS)
    assert re.split(r"\s{2,}", listed["SaMI/Unbuildable-v0"].strip()) == [
        "SaMI/Unbuildable-v0",
        "weight, scales, cripple, unused",
        "train=2, extreme=1",
        "50",
    ]


def test_the_meta_tasks_of_one(rllib, unbuildable):
    result = rllib("envs", "Unbuildable")
    assert result.exit_code == 0, result.output
    lines = [line.rstrip() for line in result.output.splitlines()]
    assert lines[0] == "SaMI/Unbuildable-v0: Cannot be built here [not even once]."
    rows = [re.split(r"\s{2,}", line) for line in lines]
    assert ["cripple", "dead joints", "none"] in rows
    train, extreme = lines.index("split train"), lines.index("split extreme")
    assert rows[train + 1 : train + 4] == [
        ["task_id", "weight (kg)", "cripple"],
        ["0", "0.5, 2", "none"],
        ["1", "1", "0 hip + 1 knee, none"],
    ]
    assert rows[extreme + 1 : extreme + 3] == [["task_id", "scales"], ["0", "7 numbers 0.31…3.2"]]


def test_one_split_of_one(rllib):
    result = rllib("envs", "SaMI/Ant-v0", "--split", "extreme")
    splits = [line.strip() for line in result.output.splitlines() if line.startswith("split")]
    assert splits == ["split extreme"]
    assert re.search(r"^3\s+1\.75\s+1\.75\s*$", result.output, re.MULTILINE)
    assert "0.75" not in result.output


@pytest.mark.parametrize("words", [[], *([env_id] for env_id in envs.list_environments())])
def test_tables_fit_a_terminal_of_100_columns(rllib, words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("FORCE_COLOR", "1")
    result = rllib("envs", *words)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", result.output)
    assert max(map(len, plain.splitlines())) <= 100
    assert result.output != plain  # it did take this for a terminal
