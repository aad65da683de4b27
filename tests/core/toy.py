"""Two small worlds with a hidden task and a known optimum, and a training loop of a few lines around the core.

A point in the plane starts somewhere, moves by at most ``SPEED`` along each axis and pays its distance from the goal
at every step. Nothing it observes tells the task.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from core_helpers import constants

from rllib_sami.algorithms.sami.networks import SaMITrainingNetworks
from rllib_sami.algorithms.sami.sampling import SamplingConfig, sample_updates
from rllib_sami.algorithms.sami.update import parameter_groups
from rllib_sami.algorithms.sami.update import sami_update as update
from rllib_sami.core.networks import ActorNetworks, NetworkConfig
from rllib_sami.core.optimization import Optimization
from rllib_sami.replay_buffers.episode_store import EpisodePiece, EpisodeStore

SPEED, NUM_STEPS = 0.5, 12
CORNERS = np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])


class PointWorld:
    """Many points at once, as many of each task.

    Args:
        turned: Task k turns every action by k half turns (quarter turns with four tasks), and the goal is the origin;
            else the goal of task k is a corner of its own, which only the reward tells.
        num_tasks: Two or four.
        num_points: How many there are.
    """

    def __init__(self, turned: bool, num_tasks: int = 2, num_points: int = 16):
        self.turned, self.num_points = turned, num_points
        self.task_ids = np.arange(num_points) % num_tasks
        self.quarters = self.task_ids * (4 // num_tasks)
        self.goals = np.zeros((num_points, 2)) if turned else CORNERS[self.quarters]

    def reset(self, rng: np.random.Generator) -> np.ndarray:
        """Positions, which are all that is observed."""
        reach = 1.0 if self.turned else 0.5
        self.position = rng.uniform(-reach, reach, (self.num_points, 2))
        return self.position.astype(np.float32)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions and rewards after the actions, which are clipped to [-1, 1]."""
        action = np.clip(action, -1, 1)
        if self.turned:
            x, y = action.T
            turns = np.array([[x, y], [-y, x], [-x, -y], [y, -x]])  # [quarters, axis, point]
            action = turns[self.quarters, :, np.arange(self.num_points)]
        self.position = self.position + SPEED * action
        reward = -np.linalg.norm(self.position - self.goals, axis=1)
        return self.position.astype(np.float32), reward.astype(np.float32)

    def best_returns(self) -> np.ndarray:
        """What who knows the task gets from here: each axis goes straight to the goal. Turns do not change the box."""
        way = np.abs(self.position - self.goals)[..., None] - SPEED * np.arange(1, NUM_STEPS + 1)
        return -np.linalg.norm(way.clip(min=0), axis=1).sum(axis=-1)


# Long enough for the encoder to learn from random actions what the task is: without knowing it, the best is to stay
# put, and who stays put learns nothing of the task.
NUM_RANDOM_ROUNDS = 40


@dataclass(frozen=True)
class Scores:
    """Mean returns of one trained agent."""

    agent: float
    optimum: float
    random: float

    @property
    def closed(self) -> float:
        """Share of the gap between the random policy and the optimum that the agent has closed."""
        return (self.agent - self.random) / (self.optimum - self.random)


def roll_out(world: PointWorld, acting: ActorNetworks, rng: np.random.Generator, mode: str) -> dict[str, np.ndarray]:
    """One episode of every point: ``obs`` [n, T + 1, 2], ``actions`` [n, T, 2] and ``rewards`` [n, T]."""
    obs, n = world.reset(rng), world.num_points
    action, reward = np.zeros((n, 2), np.float32), np.zeros(n, np.float32)
    state = torch.zeros(n, acting.encoder.state_dim)
    everything = {"obs": [obs], "actions": [], "rewards": []}
    for _ in range(NUM_STEPS):
        if mode == "random":
            action = rng.uniform(-1, 1, (n, 2)).astype(np.float32)
        else:
            noise = torch.from_numpy(rng.standard_normal((n, 2), dtype=np.float32)) if mode == "sample" else None
            read = (torch.from_numpy(x) for x in (obs, action, reward[:, None]))
            chosen, _, state = acting.act(*read, state, noise)
            action = chosen.numpy()
        obs, reward = world.step(action)
        for name, value in (("obs", obs), ("actions", action), ("rewards", reward)):
            everything[name].append(value)
    return {name: np.stack(values, axis=1) for name, values in everything.items()}


def train(
    turned: bool, seed: int, *, num_tasks: int = 2, num_rounds: int = 150, zero_context: bool = False, **overrides
) -> Scores:
    """Trains SaCCM from nothing and evaluates its deterministic policy on fresh episodes.

    Args:
        turned: Which world.
        seed: Of everything.
        num_tasks: Two or four.
        num_rounds: Rounds of one episode of each point and 25 updates.
        zero_context: Keep every context at zero, in acting and in learning.
        **overrides: Fields of ``SamplingConfig`` or ``UpdateConfig``.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = NetworkConfig(
        encoder_hidden_dim=32,
        encoder_reward=not turned,
        normalize_context=True,
        normalize_inputs=False,
        encoder_obs_delta=False,
        actor_hidden=(64, 64),
        critic_hidden=(64, 64),
    )
    sampling = SamplingConfig(
        pairing="skill_task", train_episodes=12, loss_timesteps=256, contrast_episodes=64, num_negatives=63
    )
    config = constants(gamma=0.8, tau=0.02, target_entropy=-2.0, critics_train_encoder=False, contrast_coeff=0.1)
    sampling = replace(sampling, **{k: v for k, v in overrides.items() if hasattr(sampling, k)})
    config = replace(config, **{k: v for k, v in overrides.items() if hasattr(config, k)})
    acting = ActorNetworks(2, 2, network)
    rates = dict.fromkeys(("encoder", "critic", "actor", "alpha"), 3e-3)
    if zero_context:
        with torch.no_grad():
            acting.encoder.head.weight.zero_()
            acting.encoder.head.bias.zero_()
        rates["encoder"] = 0.0
        sampling = replace(sampling, pairing=None)  # equal contexts have nothing to contrast
    training = SaMITrainingNetworks(acting, initial_alpha=0.2, acting_encoder="online")
    groups = parameter_groups(acting, training)
    optimizers = {name: torch.optim.Adam(group, lr=rates[name]) for name, group in groups.items()}
    optimization = Optimization(groups, optimizers)

    world, store = PointWorld(turned, num_tasks), EpisodeStore(2, 2, capacity=20_000)
    for number in range(num_rounds):
        episodes = roll_out(world, acting, rng, "random" if number < NUM_RANDOM_ROUNDS else "sample")
        for slot, arrays in enumerate(zip(*episodes.values(), strict=True)):
            store.add(EpisodePiece(slot, int(world.task_ids[slot]), 0, *arrays, done=True))
        samples = sample_updates(store, sampling, 25, rng)
        for update_number in range(25):
            batch = {name: torch.as_tensor(value[update_number]) for name, value in samples.items()}
            update(acting, training, optimization, batch, config)

    fresh = PointWorld(turned, num_tasks, num_points=400)
    returns = [roll_out(fresh, acting, np.random.default_rng(1), mode)["rewards"].sum() for mode in ("best", "random")]
    fresh.reset(np.random.default_rng(1))
    return Scores(*(float(total) / 400 for total in (returns[0], fresh.best_returns().sum(), returns[1])))
