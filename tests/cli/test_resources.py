"""`auto` follows the machine."""

import os

import pytest
import torch

from rllib_sami_cli.resources import Limits, auto_settings, resolve_auto


@pytest.mark.parametrize(("cores", "runners"), [(1, 0), (2, 0), (4, 2), (8, 6), (64, 8)])
@pytest.mark.parametrize("gpu", [False, True])
def test_auto_takes_what_is_there(monkeypatch, cores, runners, gpu):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    config = {"num_env_runners": "auto", "num_gpus_per_learner": "auto", "gamma": 0.9}
    assert resolve_auto(config) == {"num_env_runners": runners, "num_gpus_per_learner": int(gpu), "gamma": 0.9}


@pytest.mark.parametrize(
    ("limits", "runners", "gpus"),
    [
        (Limits(cpus=2), 0, 1),
        (Limits(cpus=6), 4, 1),
        (Limits(gpus=0), 8, 0),
        (Limits(cpus=3, gpus=1), 0, 1),
    ],
)
def test_auto_takes_no_more_than_ray_may_use(monkeypatch, limits, runners, gpus):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    config = {"num_env_runners": "auto", "num_gpus_per_learner": "auto"}
    assert resolve_auto(config, limits) == {"num_env_runners": runners, "num_gpus_per_learner": gpus}
    assert auto_settings({**config, "gamma": 0.9}) == ("num_env_runners", "num_gpus_per_learner")


def test_a_gpu_that_only_ray_believes_in_is_not_used(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_auto({"num_gpus_per_learner": "auto"}, Limits(gpus=1)) == {"num_gpus_per_learner": 0}


def test_numbers_and_other_settings_are_left_alone():
    config = {"num_env_runners": 3, "num_gpus_per_learner": 0, "target_entropy": "auto"}
    assert resolve_auto(config) == config
    assert auto_settings(config) == ()
