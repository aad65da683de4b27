"""Training by name: through Tune, from a script of one's own, with remote env runners."""

import json

import numpy as np
import pytest
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

import rllib_sami

from .tiny import TRAINING, tiny, trained_until

PLAIN = TRAINING | {
    "env": "SaMI/Pendulum-v0",
    "env_config": {"max_steps": 20},
    "num_envs_per_env_runner": 3,
    "rollout_fragment_length": 7,
    "min_sample_timesteps_per_iteration": 100,
    "num_steps_sampled_before_learning_starts": 60,
}

NAMES = """
from ray.tune.error import TuneError
from ray.tune.registry import get_trainable_cls


def known(name):
    try:
        return get_trainable_cls(name).__module__
    except TuneError as error:
        return str(error)


print(known("SaCCM"), known("rllib_sami.SaCCM"), sep="\\n")
import rllib_sami

for name in ("SaMI", "TESAC", "CCM", "SaTESAC", "SaCCM"):
    assert get_trainable_cls(name) is getattr(rllib_sami, name)
print(known("rllib_sami.SaCCM"))
"""

OWN_ENVIRONMENT = """
import json, sys

import gymnasium as gym
import numpy as np
import ray
from ray import tune


class Slide(gym.Env):
    # A point on a line; the hidden task is how strongly, and which way, its action moves it.
    observation_space = gym.spaces.Box(-10, 10, (1,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, config):
        self.names_task = config["names_task"]

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.task = int(self.np_random.integers(3))
        self.x, self.steps = self.np_random.uniform(-1, 1, 1).astype(np.float32), 0
        return self.x, {"task_id": self.task} if self.names_task else {}

    def step(self, action):
        self.x = np.clip(self.x + (0.3, -0.2, 0.1)[self.task] * action, -10, 10).astype(np.float32)
        self.steps += 1
        return self.x, -abs(float(self.x[0])), False, self.steps >= 20, {}


tune.register_env("slide", lambda config: Slide(config))

from rllib_sami import SaCCMConfig

config = SaCCMConfig().training(**json.loads(sys.argv[1])).env_runners(num_env_runners=1, num_envs_per_env_runner=3)
config.reporting(min_sample_timesteps_per_iteration=100)
try:
    config.copy(copy_frozen=False).environment("slide", env_config={"names_task": False}).build_algo()
except ValueError as error:
    print(error)
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
algo = config.environment("slide", env_config={"names_task": True}).build_algo()
for _ in range(3):
    result = algo.train()
print(sorted(result["env_runners"]["return_by_task"]), result["learners"]["default_policy"]["num_updates_lifetime"])
"""


@pytest.mark.slow
def test_a_plain_dict_trains_by_name_in_tune_and_is_searched_by_its_return(ray_cluster, tmp_path):
    metric = "env_runners/episode_return_mean"
    tuner = tune.Tuner(
        "SaCCM",
        # No episode is over after the first iteration, of 35 steps in each slot.
        param_space=PLAIN | {"env_config": {"max_steps": 40}, "contrast_coeff": tune.grid_search([0.1])},
        tune_config=tune.TuneConfig(metric=metric, mode="max", scheduler=ASHAScheduler(max_t=3, grace_period=1)),
        run_config=tune.RunConfig(
            storage_path=str(tmp_path),
            stop={"training_iteration": 3, "learners/default_policy/sance_bound": 100.0},
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True, checkpoint_score_attribute=metric),
        ),
    )
    results = tuner.fit()
    (result,) = results
    assert result.error is None
    assert np.isnan(result.metrics_dataframe[metric].iloc[0])
    assert results.get_best_result().path == result.path
    assert result.metrics["training_iteration"] == 3
    assert np.isfinite(result.metrics["env_runners"]["episode_return_mean"])
    assert np.isfinite(result.metrics["learners"]["default_policy"]["sance_bound"])
    restored = rllib_sami.SaCCM.from_checkpoint(result.checkpoint.path)
    assert restored.iteration == 3
    assert restored.config.contrast_coeff == 0.1
    assert len(restored.replay_buffer) > 0
    restored.stop()


@pytest.mark.slow
def test_names_are_known_once_the_package_is_imported(fresh_python):
    """Tune resolves no dotted paths: import the package, or give Tune the class ``rllib_sami.SaCCM`` itself."""
    before, path, path_after = fresh_python(NAMES).splitlines()[-3:]
    assert before == "Unknown trainable: SaCCM"
    assert path == path_after == "Unknown trainable: rllib_sami.SaCCM"


@pytest.mark.slow
def test_a_users_environment_trains_from_a_script_and_without_task_id_says_what_to_add(fresh_python):
    options = TRAINING | {"num_steps_sampled_before_learning_starts": 60}
    *_, message, outcome = fresh_python(OWN_ENVIRONMENT, json.dumps(options)).splitlines()
    assert "'slide' gives no 'task_id' in its reset infos, which SaCCM needs" in message
    assert "return obs, {'task_id': k}" in message
    tasks, updates = outcome.rsplit(" ", 1)
    assert tasks == "['0', '1', '2']"
    assert float(updates) > 15


@pytest.mark.slow
def test_training_goes_on_when_a_remote_runner_is_lost(ray_cluster):
    config = tiny(env="test/Walker", num_steps_sampled_before_learning_starts=60).env_runners(num_env_runners=1)
    algo = config.fault_tolerance(restart_failed_env_runners=True).build_algo()
    first = algo.train()
    (runner,) = algo.env_runner_group._worker_manager.actors().values()
    ray.kill(runner, no_restart=False)
    trained_until(algo, lambda result: result["fault_tolerance"]["num_remote_worker_restarts"] > 0)
    last = trained_until(algo, lambda result: result["learners"]["default_policy"]["num_updates_lifetime"] > 10)[-1]
    stored = algo.replay_buffer.store
    algo.stop()
    assert last["env_runners"]["num_env_steps_sampled_lifetime"] > first["num_env_steps_sampled_lifetime"]
    assert np.isfinite(last["env_runners"]["episode_return_mean"])
    clock = stored.gather(stored.finished, 21)[..., 2] * 10
    np.testing.assert_allclose(clock, np.broadcast_to(np.arange(21), clock.shape), atol=1e-5)
