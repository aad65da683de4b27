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


def play(act: Act, remember: Callable[[np.ndarray], None] = lambda _: None) -> tuple[np.ndarray, np.ndarray]:
    """Plays all episodes at once; returns their returns ``[n]`` and families ``[n]``."""
    count = envs.make(TOY, split="test").num_tasks * EPISODES
    batch = [envs.make(TOY, split="test") for _ in range(count)]
    obs = np.stack([env.reset(seed=k, options={"task_id": k % env.num_tasks})[0] for k, env in enumerate(batch)])
    returns = np.zeros(count)
    for _ in range(batch[0].max_steps):
        steps = [env.step(action) for env, action in zip(batch, act(obs, batch), strict=True)]
        obs, rewards = np.stack([step[0] for step in steps]), np.array([step[1] for step in steps], np.float32)
        returns += rewards
        remember(rewards)
    return returns, np.array([env.task_families[env.task_id] for env in batch])


def play_agent(path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns returns ``[n]``, families ``[n]``, and at every step the families that the agent infers, ``[T, n]``."""
    networks = load(path).module().acting
    policy = RecurrentPolicy(networks, envs.make(TOY, split="test").num_tasks * EPISODES)
    inferred = []

    def act(obs: np.ndarray, _: Sequence[Any]) -> np.ndarray:
        action = policy.act(obs)
        with torch.no_grad():
            logits = networks.family_logits(torch.from_numpy(obs), torch.from_numpy(policy.context))
        inferred.append(logits.argmax(dim=1).numpy())
        return action

    policy.begin()
    returns, families = play(act, policy.remember)
    return returns, families, np.stack(inferred)


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
        returns, families, inferred = play_agent(path)
        print_row(path, [f"{(inferred[step] == families).mean():.3f}" for step in STEPS], returns, families)
    for name, act in references.items():
        print_row(name, ["-"] * len(STEPS), *play(act))


def print_row(name: str, accuracies: list[str], returns: np.ndarray, families: np.ndarray) -> None:
    by_family = [f"{returns[families == family].mean():.1f}" for family in np.unique(families)]
    print(f"| {name} | {' | '.join([*accuracies, f'{returns.mean():.1f}', *by_family])} |", flush=True)


if __name__ == "__main__":
    main()
