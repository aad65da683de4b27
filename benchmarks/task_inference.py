"""What agents of TaskInference infer on tasks of a toy that they were not trained on, and what they make of it.

    rllib train file tuned_examples/reuse/toy.yaml -n toy-0 --seed 0 --storage-path results
    python benchmarks/task_inference.py results/toy-*

Each agent plays the same episodes of every test task, with its most likely actions. The family of a task is that with
the highest score of the classifier. References: the zero action, random actions, and a controller that knows the task.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from rllib_sami import envs
from rllib_sami.core.acting import RecurrentPolicy
from rllib_sami.exports.checkpoints import load

TOY = "Reuse/Toy-v0"
EPISODES = 8  # of each task
STEPS = (32, 180)  # at which families are looked at
Act = Callable[[np.ndarray, Sequence[Any]], np.ndarray]  # observations and environments to actions


def play(
    act: Act, env_id: str, remember: Callable[[np.ndarray], None] = lambda _: None
) -> tuple[np.ndarray, list[Any]]:
    """Plays all episodes at once; returns the rewards of all steps ``[T, n]``, and the environments."""
    count = episodes_of(env_id)
    batch = [envs.make(env_id, split="test") for _ in range(count)]
    obs = np.stack([env.reset(seed=k, options={"task_id": k % env.num_tasks})[0] for k, env in enumerate(batch)])
    played = []
    for _ in range(batch[0].max_steps):
        steps = [env.step(action) for env, action in zip(batch, act(obs, batch), strict=True)]
        obs, rewards = np.stack([step[0] for step in steps]), np.array([step[1] for step in steps], np.float32)
        played.append(rewards)
        remember(rewards)
    return np.stack(played), batch


def episodes_of(env_id: str) -> int:
    """How many episodes are played."""
    return envs.make(env_id, split="test").num_tasks * EPISODES


def play_agent(
    path: str, env_id: str, read: Callable[[Any, np.ndarray, np.ndarray], np.ndarray]
) -> tuple[np.ndarray, list[Any], np.ndarray]:
    """Plays an agent; returns what :func:`play` does, and what is read at every step, ``[T, n, ...]``.

    Args:
        path: The agent.
        env_id: The environment.
        read: Networks, observations and latents to what is of interest.
    """
    module = load(path).module()
    networks, scale = module.acting, module.action_space.high
    policy = RecurrentPolicy(networks, episodes_of(env_id))
    found = []

    def act(obs: np.ndarray, _: Sequence[Any]) -> np.ndarray:
        action = policy.act(obs) * scale
        found.append(read(networks, obs, policy.context))
        return action

    policy.begin()
    rewards, batch = play(act, env_id, policy.remember)
    return rewards, batch, np.stack(found)


def inferred_families(networks: Any, obs: np.ndarray, latent: np.ndarray) -> np.ndarray:
    """Returns the families with the highest scores, ``[n]``."""
    with torch.no_grad():
        return networks.family_logits(torch.from_numpy(obs), torch.from_numpy(latent)).argmax(dim=1).numpy()


def returns_and_families(rewards: np.ndarray, batch: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Returns returns and families of all episodes, ``[n]``."""
    return rewards.sum(axis=0, dtype=np.float64), np.array([env.task_families[env.task_id] for env in batch])


def control(_: np.ndarray, batch: Sequence[Any]) -> np.ndarray:
    """The actions of a controller that knows the task."""
    actions = []
    for env in batch:
        goal, velocity = env.task["goal"], env.task["velocity"]
        actions.append([np.clip((goal - env.state[0]) / 0.5, -1.0, 1.0) if goal else velocity / 5.0])
    return np.array(actions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("agents", nargs="+", help="Checkpoints, runs or exported agents.")
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    references: dict[str, Act] = {
        "zero action": lambda obs, _: np.zeros((len(obs), 1)),
        "random actions": lambda obs, _: rng.uniform(-1.0, 1.0, (len(obs), 1)),
        "controller that knows the task": control,
    }
    names = envs.ENVIRONMENTS[TOY].families
    print(f"| agent | {' | '.join(f'family at {step}' for step in STEPS)} | return |", end="")
    print(f" {' | '.join(family.name for family in names)} |\n|---|{'---:|' * (len(STEPS) + 1 + len(names))}")
    for path in arguments.agents:
        rewards, batch, inferred = play_agent(path, TOY, inferred_families)
        returns, families = returns_and_families(rewards, batch)
        print_row(path, [f"{(inferred[step] == families).mean():.3f}" for step in STEPS], returns, families)
    for name, act in references.items():
        print_row(name, ["-"] * len(STEPS), *returns_and_families(*play(act, TOY)))


def print_row(name: str, accuracies: list[str], returns: np.ndarray, families: np.ndarray) -> None:
    by_family = [f"{returns[families == family].mean():.1f}" for family in np.unique(families)]
    print(f"| {name} | {' | '.join([*accuracies, f'{returns.mean():.1f}', *by_family])} |", flush=True)


if __name__ == "__main__":
    main()
