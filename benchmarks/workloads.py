"""What is measured: agents, batches, runners and algorithms, made alike for all commands."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rllib_sami import CCMConfig, SaCCMConfig, SaTESACConfig, TESACConfig, compat
from rllib_sami.algorithms.sami.networks import SaMITrainingNetworks
from rllib_sami.algorithms.sami.sami import SaMIConfig, SaMITorchLearner
from rllib_sami.algorithms.sami.update import SaMILossFunctions as LossFunctions
from rllib_sami.algorithms.sami.update import UpdateConfig, parameter_groups
from rllib_sami.algorithms.sami.update import sami_update as update
from rllib_sami.core.compilation import compiled
from rllib_sami.core.networks import ActorNetworks, NetworkConfig
from rllib_sami.core.optimization import Optimization
from rllib_sami.env_runners.array_env_runner import ArrayEnvRunner
from rllib_sami.env_runners.vector_env import TaskVectorEnv
from rllib_sami.replay_buffers.episode_store import EpisodePiece, EpisodeStore

CONFIGS = {"TESAC": TESACConfig, "CCM": CCMConfig, "SaTESAC": SaTESACConfig, "SaCCM": SaCCMConfig}
HALF_CHEETAH = (18, 6)  # observation and action width
ANT = (28, 8)
NUM_TASKS = 4  # of both, in training
EPISODE_LENGTH = 200  # as the tuned examples have it
TRAINED = "HalfCheetah, 8 environments, fragments of 25, episodes of 200 steps"
PAPER = {  # the authors' settings for MuJoCo, as far as they make an update's work
    "updates_per_batch": 1,
    "contrast_interval": 1,
    "train_episodes": 16,
    "loss_timesteps": None,
    "contrast_episodes": 16,
    "objective": "binary_nce",
    "similarity": "bilinear",
    "return_gap_weight": True,
    "encoder_loss": "both",
    "normalize_context": False,
    "normalize_inputs": False,
    "encoder_obs_delta": False,
    "acting_encoder": "online",
    "skill_weight": 1.0,
    "actor_hidden": [512, 512, 512],
    "critic_hidden": [512, 512, 512],
}
Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Agent:
    """Networks and optimisers of one agent, without Ray."""

    acting: ActorNetworks
    training: SaMITrainingNetworks
    optimization: Optimization
    config: UpdateConfig
    loss_functions: LossFunctions

    @classmethod
    def of(cls, config: SaMIConfig, obs_dim: int, action_dim: int, device: str = "cpu") -> "Agent":
        """A new agent of a config."""
        networks = NetworkConfig(**{key: getattr(config, key) for key in NetworkConfig.__dataclass_fields__})
        acting = ActorNetworks(obs_dim, action_dim, networks).to(device)
        training = SaMITrainingNetworks(acting, config.initial_alpha, config.acting_encoder).to(device)
        groups = parameter_groups(acting, training)
        rates = {name: getattr(config, key) for name, key in SaMITorchLearner.LEARNING_RATE_OF.items()}
        optimizers = {name: torch.optim.Adam(some, lr=rates[name], fused=True) for name, some in groups.items()}
        loss_functions = compiled(LossFunctions()) if config.compile_update else LossFunctions()
        constants = config.get_update_config(action_dim)
        return cls(acting, training, Optimization(groups, optimizers), constants, loss_functions)

    def update(self, batch: Batch) -> None:
        """All updates on one batch, as the learner makes them: ``config.updates_per_batch`` of actor and critics."""
        update(self.acting, self.training, self.optimization, batch, self.config, self.loss_functions)


def fill(store: EpisodeStore, num_steps: int, length: int = EPISODE_LENGTH) -> EpisodeStore:
    """Adds whole episodes of noise until the store was given ``num_steps``."""
    rng = np.random.default_rng(0)
    obs = rng.standard_normal((2 * length + 1, store.obs_dim), dtype=np.float32)
    actions = rng.uniform(-1, 1, (2 * length, store.action_dim)).astype(np.float32)
    rewards = rng.standard_normal(2 * length, dtype=np.float32)
    for number in range(-(-num_steps // length)):
        first = int(rng.integers(length))  # another window for each episode
        window = slice(first, first + length)
        store.add(
            EpisodePiece(
                slot=0,
                task_id=number % NUM_TASKS,
                first_step=0,
                obs=obs[first : first + length + 1],
                actions=actions[window],
                rewards=rewards[window],
                done=True,
            )
        )
    return store


def add_open_episodes(store: EpisodeStore, count: int) -> None:
    """Adds episodes that are still in progress, half as long as others."""
    steps = EPISODE_LENGTH // 2
    for slot in range(1, count + 1):
        obs, actions = np.zeros((steps + 1, store.obs_dim)), np.zeros((steps, store.action_dim))
        store.add(EpisodePiece(slot, slot % NUM_TASKS, 0, obs, actions, np.zeros(steps)))


def noise_store(sizes: tuple[int, int], num_steps: int = 50_000, length: int = EPISODE_LENGTH) -> EpisodeStore:
    """A full store of whole episodes of noise."""
    return fill(EpisodeStore(*sizes, num_steps // length * (length + 1)), num_steps, length)


def tensors_of(arrays: dict[str, np.ndarray]) -> list[Batch]:
    """The batches of a sample, one for each call of ``Agent.update``."""
    tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
    return [{name: values[index] for name, values in tensors.items()} for index in range(len(arrays["step_index"]))]


def batch_of(config: SaMIConfig, store: EpisodeStore) -> Batch:
    """A single batch, for one call of ``Agent.update``."""
    return tensors_of(config.make_sampler()(store, num_updates=1, rng=np.random.default_rng(0)))[0]


def our_config(
    config_class: type[SaMIConfig],
    env: str,
    num_envs: int,
    fragment: int,
    max_steps: int | None = None,
    **training: Any,
) -> SaMIConfig:
    """One of ours on an environment of the package; ``max_steps`` None leaves the environment's own cap."""
    env_config = {} if max_steps is None else {"max_steps": max_steps}
    return (
        config_class()
        .environment(env, env_config=env_config)
        .env_runners(num_env_runners=0, num_envs_per_env_runner=num_envs, rollout_fragment_length=fragment)
        .training(**training)
        .debugging(seed=0, log_level="ERROR")
    )


def trained_config(config_class: type[SaMIConfig], quick: bool, **training: Any) -> SaMIConfig:
    """What ``TRAINED`` says; an iteration is of 1,000 steps, quick 200, and so are random actions at the start.

    There is an update every ten steps, so that all iterations cost the same.
    """
    steps = 200 if quick else 1_000
    config = our_config(config_class, "SaMI/HalfCheetah-v0", 8, 25, max_steps=EPISODE_LENGTH)
    config.training(**{"num_steps_sampled_before_learning_starts": steps, "updates_per_env_step": 0.1} | training)
    return config.reporting(min_sample_timesteps_per_iteration=steps)


def train_once(algorithm: Any) -> int:
    """One iteration; returns its environment steps."""
    before = compat.env_steps_sampled(algorithm)
    algorithm.train()
    return compat.env_steps_sampled(algorithm) - before


def runner_of(config: SaMIConfig) -> ArrayEnvRunner:
    """The local env runner of a config, without an algorithm around it."""
    config.validate()
    return ArrayEnvRunner(config=config, worker_index=0)


class Recording:
    """Notes what a runner asks of its vector environment, to ask the same of another one: the raw physics.

    Both begin with the same seeds and tasks, so they simulate the same steps and the same resets.
    """

    _METHODS = ("reset_all", "step_arrays")

    def __init__(self, runner: ArrayEnvRunner):
        self._calls: list[tuple[str, tuple, dict]] = []
        for name in self._METHODS:
            setattr(runner.env, name, self._noting(name, getattr(runner.env, name)))
        config = runner.config
        slots = range(config.num_envs_per_env_runner)
        self.raw = TaskVectorEnv([compat.env_creator(config, 0, slot) for slot in slots])

    def _noting(self, name: str, method: Any) -> Any:
        def noted(*arguments, **keywords):
            copies = tuple(_kept(argument) for argument in arguments)
            self._calls.append((name, copies, {key: _kept(value) for key, value in keywords.items()}))
            self._result = method(*arguments, **keywords)
            return self._result

        return noted

    def replay(self) -> int:
        """Does all that was noted since the last time; returns the environment steps.

        Raises:
            RuntimeError: If the physics differs, which would make it another measure.
        """
        steps, result = 0, None
        for name, arguments, keywords in self._calls:
            result = getattr(self.raw, name)(*arguments, **keywords)
            steps += self.raw.num_envs * (name == "step_arrays")
        self._calls.clear()
        if not np.array_equal(result.obs, self._result.obs):
            raise RuntimeError("The raw environments went another way than the runner's.")
        return steps


def _kept(argument: Any) -> np.ndarray | None:
    """A copy, as the runner may use its arrays again; what is to be called back is the runner's own affair."""
    return None if argument is None or callable(argument) else np.array(argument)


@contextlib.contextmanager
def ray_cluster() -> Iterator[None]:
    """A Ray cluster of its own, without dashboard or log output."""
    import ray

    ray.init(address="local", num_cpus=8, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    logging.getLogger("ray.rllib").setLevel(logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()
