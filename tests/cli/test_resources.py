"""`auto` follows the machine."""

import os

import pytest
import torch

from rllib_sami.cli.resources import resolve_auto


@pytest.mark.parametrize(("cores", "runners"), [(1, 0), (2, 0), (4, 2), (8, 6), (64, 8)])
@pytest.mark.parametrize("gpu", [False, True])
def test_auto_takes_what_is_there(monkeypatch, cores, runners, gpu):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    config = {"num_env_runners": "auto", "num_gpus_per_learner": "auto", "gamma": 0.9}
    assert resolve_auto(config) == {"num_env_runners": runners, "num_gpus_per_learner": int(gpu), "gamma": 0.9}


def test_numbers_and_other_settings_are_left_alone():
    config = {"num_env_runners": 3, "num_gpus_per_learner": 0, "target_entropy": "auto"}
    assert resolve_auto(config) == config
