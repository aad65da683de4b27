"""What is done in ``Manipulation/Scene-v0``: by OGBench's oracles in the order of the sub-tasks, in a data set of play,
and by skills that were learned from one.

python benchmarks/scene.py oracles              # 20 episodes
rllib data make scene --trajectories 50 --out data/scene
python benchmarks/scene.py data data/scene
python benchmarks/scene.py skills data/scene results/scene_skills
"""

import argparse
import time

import numpy as np
import torch

from rllib_sami import load
from rllib_sami.core.tanh_normal import TanhNormal
from rllib_sami.datasets import Dataset
from rllib_sami.envs.manipulation import Scene
from rllib_sami.envs.manipulation.play import Player
from rllib_sami.envs.manipulation.scene import MIDDLE, SUBTASKS, UNIT, done

TARGETS = ("open drawer", "window button", "open window", "cube to drawer")  # one for each sub-task


def oracles(episodes: int, noise: float) -> None:
    """Lets oracles do the sub-tasks in their order, again where they fail; prints how that went."""
    env, steps, completed, began = Scene(), [], [], time.process_time()
    for seed in range(episodes):
        rng, player, is_over = np.random.default_rng(seed), Player(env, noise), False
        env.reset(seed=seed)
        while not is_over:
            if player.is_done:
                player.begin(TARGETS[env.num_completed], rng)
            _, _, terminated, truncated, info = env.step(player.act())
            is_over = terminated or truncated
        steps.append(round((env.data.time) / env.dt))
        completed.append(len(info["tasks_completed"]))
    per_step = (time.process_time() - began) / sum(steps)
    print(f"all sub-tasks in {np.mean(np.array(completed) == len(SUBTASKS)):.0%} of {episodes} episodes")
    print(
        f"steps: {min(steps)} to {max(steps)}, mean {np.mean(steps):.0f}; CPU time of a step: {1e3 * per_step:.2f} ms"
    )


def times_done(observations: np.ndarray) -> np.ndarray:
    """Returns how often each sub-task was done, ``[4]``, along observations ``[T + 1, 22]``."""
    state = done(observations)
    return (~state[:-1] & state[1:]).sum(axis=0)


def data(folder: str) -> None:
    """Prints how often each sub-task was done in each trajectory of a data set."""
    dataset = Dataset(folder)
    times = []
    for one in dataset:
        times.append(times_done(one.observations))
    counts = np.array(times)
    print(f"{len(dataset)} trajectories, {dataset.num_steps:,} steps")
    for name, mine in zip(SUBTASKS, counts.T, strict=True):
        print(f"{name}: {mine.mean():.2f} times in a trajectory; in {np.mean(mine > 0):.0%} of them")
    print(
        f"all {len(SUBTASKS)} sub-tasks, in any order: in {np.mean((counts > 0).all(axis=1)):.0%} of the trajectories"
    )


@torch.no_grad()
def skills(folder: str, checkpoint: str, trajectories: int, steps: int) -> None:
    """Plays the beginnings of trajectories again, with the skills that the encoder finds in them and with the prior's;
    prints how often each sub-task was done.
    """
    model, env, dataset = load(checkpoint).module.acting, Scene(), Dataset(folder)
    length = model.config.skill_length
    shape, generator = (steps // length, length), torch.Generator().manual_seed(0)
    times: dict[str, list[np.ndarray]] = {"data": [], "skills of the data": [], "skills of the prior": []}
    for index in range(trajectories):
        obs, actions = (torch.tensor(one[:steps]) for one in (dataset[index].observations, dataset[index].actions))
        encoded = model.skill_policy.encoder(obs).unflatten(0, shape)[None]
        chosen = model.encode_skills(actions.unflatten(0, shape)[None], encoded).mode[0]
        times["data"].append(times_done(dataset[index].observations[: steps + 1]))
        for name, others in times.items():
            if name == "data":
                continue
            seen = [begun(env, obs[0].numpy())]
            for step in range(steps):
                here = torch.as_tensor(seen[-1], dtype=torch.float32)[None]
                if step % length == 0:
                    prior = TanhNormal.of(model.prior(model.state_encoder(here)))
                    noise = torch.randn(1, model.config.skill_dim, generator=generator)
                    skill = prior.sample(noise) if name == "skills of the prior" else chosen[step // length][None]
                action = model.skill_policy(model.skill_policy.encoder(here), skill)[0]
                seen.append(env.walk(action.double().numpy()))
            others.append(times_done(np.array(seen)))
    print(f"times in {steps} steps, of {trajectories} trajectories: {', '.join(SUBTASKS)}")
    for name, counts in times.items():
        print(f"{name}: {', '.join(f'{mean:.2f}' for mean in np.mean(counts, axis=0))}")


def begun(env: Scene, obs: np.ndarray) -> np.ndarray:
    """Puts everything to where an observation ``[22]`` says that it is, at rest; returns the observation."""
    env.reset(seed=0)
    return env.arrange(
        gripper=MIDDLE + UNIT * obs[:3],
        yaw=np.arctan2(obs[4], obs[3]),
        cube=(MIDDLE + UNIT * obs[11:14])[:2],
        cube_yaw=np.arctan2(obs[15], obs[14]) / 4.0,
        unlocked=obs[16:18] > 0.0,
        openings=(obs[20:22] + 1.0) / 2.0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for_oracles = commands.add_parser("oracles", help=oracles.__doc__)
    for_oracles.add_argument("--episodes", type=int, default=20)
    for_oracles.add_argument("--noise", type=float, default=0.1)
    commands.add_parser("data", help=data.__doc__).add_argument("folder")
    for_skills = commands.add_parser("skills", help=skills.__doc__)
    for_skills.add_argument("folder")
    for_skills.add_argument("checkpoint")
    for_skills.add_argument("--trajectories", type=int, default=25)
    for_skills.add_argument("--steps", type=int, default=400)
    arguments = vars(parser.parse_args())
    {"oracles": oracles, "data": data, "skills": skills}[arguments.pop("command")](**arguments)


if __name__ == "__main__":
    main()
