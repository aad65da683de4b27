"""The Panda environments' tasks, arguments and rewards, which can be told without PyBullet."""

import math

import numpy as np
import pytest

from rllib_sami import envs
from rllib_sami.envs.tasks import parse_task

FAMILIES = [envs.PandaPush, envs.PandaPickAndPlace]


def test_splits_are_the_cells_of_the_grid():
    train = [(0.1, 1), (0.1, 5), (0.1, 10), (1, 1), (5, 1), (10, 1)]
    moderate = [(1, 5), (1, 10), (5, 5), (5, 10), (10, 5), (10, 10)]
    extreme = [(0.1, 30), (1, 30), (5, 30), (10, 30), (30, 1), (30, 5), (30, 10), (30, 30)]
    for family in FAMILIES:
        assert set(family.splits) == {"train", "moderate", "extreme", "grid"}
        cells = {
            split: [(cell["table_friction"], cell["cube_mass"]) for cell in tasks]
            for split, tasks in family.splits.items()
        }
        assert (cells["train"], cells["moderate"], cells["extreme"]) == (train, moderate, extreme)
        assert sorted(cells["grid"]) == sorted(train + moderate + extreme)
        assert len(set(cells["grid"])) == 20


def test_the_oracles_features_are_of_order_one_and_distinguish_frictions():
    features = np.array([env_task_features(cell) for cell in envs.PandaPush.splits["grid"]])
    train = np.array([env_task_features(cell) for cell in envs.PandaPush.splits["train"]])
    assert np.abs(train).max() <= 1.0
    assert np.abs(features).max() < 1.6
    assert env_task_features({}) == [0.0, 0.0]
    assert env_task_features({"table_friction": 0.0})[1] == pytest.approx(-math.log(1.5) / 2)
    assert env_task_features({"cube_mass": 10.0})[0] == pytest.approx(1.0)
    assert np.diff(np.unique(features[:, 1])).min() > 0.2


def env_task_features(cell):
    return parse_task(envs.PandaPush.factors, cell).features()


def test_without_pybullet_everything_but_building_works(fresh_python):
    printed = fresh_python(
        "import sys\n"
        "sys.modules['ray'] = None\n"  # the environments alone load much faster
        "import gymnasium\n"
        "from rllib_sami import envs\n"
        "print('pybullet' in sys.modules)\n"
        "sys.modules['pybullet'] = None\n"
        "print('SaMI/PandaPush-v0' in envs.list_environments(), len(envs.PandaPush.splits['grid']))\n"
        "for build in (envs.PandaPush, lambda: gymnasium.make('SaMI/PandaPickAndPlace-v0')):\n"
        "    try:\n"
        "        build()\n"
        "    except ImportError as error:\n"
        "        print(error)\n"
    )
    line = "The Panda environments need PyBullet: pip install 'rllib-sami[panda]'"
    assert printed.splitlines() == ["False", "True 20", line, line]
