"""Checkpoints and programs from before modules moved: they load, act and train on as they did."""

import importlib
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from ray import cloudpickle
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core.rl_module.rl_module import RLModule

import rllib_sami
from rllib_sami import compat
from rllib_sami.exports.checkpoints import check_restore
from rllib_sami.moved import MOVED, RENAMED, todays_path
from rllib_sami_cli.ending import MetricStopper

ARCHIVE = Path(__file__).parents[1] / "data" / "checkpoints-0.1.0.tar.gz"
# What that version reported when it restored them and trained one iteration more, on SaMI/PointGoal-v0.
EXPECTED = {
    "SaCCM": {"actor": 3.960930, "critic_loss": 0.958982, "action": [-0.1204898, 0.1453064]},
    "PlainSAC": {"actor": 2.563077, "critic_loss": 1.249998, "action": [-0.4311781, 0.3593656]},
}


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("name", EXPECTED)
def test_a_trials_checkpoint_from_before_the_move_trains_on_and_acts_as_it_did(name, tmp_path):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    path, expected = tmp_path / name.lower(), EXPECTED[name]
    assert check_restore(str(path), getattr(rllib_sami, name)) == str(path)
    agent = rllib_sami.load(path)
    np.testing.assert_allclose(agent.act(np.zeros(agent.observation_space.shape)), expected["action"], atol=1e-6)
    module = RLModule.from_checkpoint(path / compat.MODULE_IN_CHECKPOINT)
    assert module.acting.actor.net[0].out_features == 4

    algo = Algorithm.from_checkpoint(path)
    assert compat.original_class(type(algo)) is getattr(rllib_sami, name) is not type(algo)
    assert algo.config.num_updates_per_batch == (4 if name == "SaCCM" else 1)
    result = algo.train()
    learned = result["learners"]["default_policy"]
    weights = algo.learner_group.get_weights()["default_policy"]
    assert learned["critic_loss"] == pytest.approx(expected["critic_loss"], abs=1e-5)
    assert np.abs(weights["acting.actor.net.0.weight"]).sum() == pytest.approx(expected["actor"], abs=1e-5)
    algo.save_to_path(tmp_path / "again")  # in today's terms
    again = Algorithm.from_checkpoint(tmp_path / "again")
    assert (type(again), again.iteration) == (getattr(rllib_sami, name), algo.iteration)
    again.stop()
    algo.stop()


def test_old_names_import_what_they_stood_for():
    for old, modules in MOVED.items():
        module = importlib.import_module(old)
        assert all(importlib.import_module(name) for name in modules)
        assert pickle.loads(cloudpickle.dumps(module)) is module
        with pytest.raises(AttributeError, match=f"module '{old}' has no attribute 'NoSuchName'"):
            module.NoSuchName  # noqa: B018
    assert (
        importlib.import_module("rllib_sami.rl_module").SaMITorchRLModule
        is rllib_sami.SaMIConfig().rl_module_spec.module_class
    )
    assert importlib.import_module("rllib_sami.env_runner").SaMIEnvRunner.__name__ == RENAMED["SaMIEnvRunner"]
    assert rllib_sami.presets.SaCCM is rllib_sami.SaCCM
    with pytest.raises(AttributeError, match="module 'rllib_sami' has no attribute 'no_such_module'"):
        rllib_sami.no_such_module  # noqa: B018
    assert todays_path("rllib_sami.presets.PlainSAC") == "rllib_sami.algorithms.sac.sac.PlainSAC"
    assert todays_path("rllib_sami.presets.NoSuchName") == "rllib_sami.presets.NoSuchName"
    stopper = MetricStopper({})
    assert pickle.loads(b"crllib_sami.cli.ending\n_current_stopper\n)R.") is stopper


def test_a_config_that_an_earlier_version_pickled_has_todays_settings():
    state = vars(rllib_sami.TESACConfig().training(gamma=0.9)) | {"averaged_context": True, "key_encoder": True}
    old = rllib_sami.TESACConfig.__new__(rllib_sami.TESACConfig)
    old.__setstate__({key: value for key, value in state.items() if key not in ("acting_encoder", "encoder_loss")})
    assert (old.gamma, old.acting_encoder, old.encoder_loss) == (0.9, "average", None)
    assert not {"averaged_context", "key_encoder"} & vars(old).keys()
    plain = rllib_sami.PlainSACConfig()
    plain.__setstate__(vars(plain) | {"loss_timesteps": 64})
    assert plain.train_batch_size_per_learner == 64
    assert vars(pickle.loads(cloudpickle.dumps(plain))).keys() == vars(rllib_sami.PlainSACConfig()).keys()
