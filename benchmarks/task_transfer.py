r"""What task inference that learned on a toy is worth on another body.

    rllib train file tuned_examples/reuse/half_cheetah.yaml --storage-path results
    python benchmarks/task_transfer.py --toy results/toy --low-level results/half_cheetah_low_level \
        --striding results/half_cheetah_striding --transfer results/half_cheetah_transfer

All play the same episodes of the same tasks. References: an oracle that commands what the task is about, random
commands, and standing still, with strides of five steps. A score is (R - floor) / (oracle - floor), with the better of
the last two as floor. Errors are relative, over the last quarter of an episode. `--alone` adds agents that learned the
tasks on the body itself, which play other episodes of the same tasks.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import rllib_sami
from rllib_sami.envs.reuse.families import quantity_of
from rllib_sami.evaluation.track_tables import segments
from rllib_sami.exports import task_transfer

QUANTITIES = ("goal", "velocity")
Act = Callable[[np.ndarray], np.ndarray]


def play(env: Any, act: Act, episodes: int) -> list[dict[str, Any]]:
    """Plays each task ``episodes`` times with the environment and its actions; returns what happened in each."""
    body, rows = env.unwrapped, []
    for task_id in range(body.num_tasks):
        for seed in range(episodes):
            obs, _ = env.reset(seed=seed, options={"task_id": task_id})
            total, strides, families, done = 0.0, [], [], False
            while not done:
                obs, reward, terminated, truncated, info = env.step(act(obs))
                done = terminated or truncated
                total += reward
                strides.append(info["env_steps"])
                families.append(env.inference.family)
            name = body.family_names[body.task_families[task_id]]
            rows.append(
                {
                    "quantity": quantity_of(name),
                    "return": total,
                    "error": info["tracking_error"],
                    "success": info["is_success"],
                    "strides": strides,
                    "recognised": np.mean([family == name for family in families[len(families) // 2 :]]),
                }
            )
    return rows


def change_tasks(parts: dict[str, Any], episodes: int, stride: int = 5, every: int = 60, number: int = 5) -> None:
    """Prints how the toy's agent does where tasks change: in the last quarter of each one's strides."""
    steps = {"task_steps": every * stride, "max_steps": number * every * stride}
    env = task_transfer.make_striding(**parts, fixed_stride=stride, **steps)
    errors, right = [[[] for _ in range(number)] for _ in range(2)]
    for task_id in range(env.unwrapped.num_tasks):
        for seed in range(episodes):
            env.reset(seed=seed, options={"task_id": task_id})
            for at in range(number * every):
                family = env.unwrapped.tracked_quantity()[0]
                _, reward, *_ = env.step(np.zeros(1))
                if at % every >= 3 * every // 4:
                    errors[at // every].append(-reward / stride)
                    right[at // every].append(env.inference.family == family)
    print("| task | median error | family |\n|---|---:|---:|")
    for at in range(number):
        print(f"| {at + 1} | {np.median(errors[at]):.2f} | {np.mean(right[at]):.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", required=True)
    parser.add_argument("--low-level", required=True)
    parser.add_argument("--striding")
    parser.add_argument("--transfer")
    parser.add_argument("--alone", nargs="*", default=[], help="Agents that learned the tasks on the body itself.")
    parser.add_argument("--body", help="Another body than that of the low level.")
    parser.add_argument("--split", default="grid")
    parser.add_argument("--episodes", type=int, default=3, help="Of each task.")
    parser.add_argument("--change-tasks", action="store_true", help="Only plays tasks that change every 60 strides.")
    parser.add_argument("--latent-noise", nargs="+", type=float, help="Only plays strides of 5 with noises of latents.")
    arguments = parser.parse_args()
    parts: dict[str, Any] = {"toy": arguments.toy, "low_level": arguments.low_level, "body": arguments.body}
    parts |= {"split": arguments.split, "task_reward": True}
    if arguments.change_tasks:
        change_tasks(parts, arguments.episodes)
        return

    def strides(
        guide: str, stride: int | None = 5, act: Act = lambda obs: np.zeros(1), **settings: Any
    ) -> list[dict[str, Any]]:
        env = task_transfer.make_striding(**parts, guide=guide, fixed_stride=stride, **settings)
        return play(env, act, arguments.episodes)

    oracle, random, still = (strides(guide) for guide in ("oracle", "random", "still"))
    levels = {
        quantity: (max(mean_return(random, quantity), mean_return(still, quantity)), mean_return(oracle, quantity))
        for quantity in QUANTITIES
    }
    columns = ("within 25 %", "median error", "return", "score")
    print(f"| | {' | '.join(f'{quantity}: {name}' for quantity in QUANTITIES for name in columns)} | family | stride |")
    print(f"|---|{'---:|' * (len(QUANTITIES) * len(columns) + 2)}")
    print_row("oracle", oracle, levels)
    if arguments.latent_noise:
        for noise in arguments.latent_noise:
            print_row(f"noise {noise:g}", strides("toy", latent_noise=noise), levels)
        return
    print_row("random commands", random, levels)
    print_row("standing still", still, levels)
    for stride in (5, 10):
        print_row(f"toy's agent, stride {stride}", strides("toy", stride), levels)
        print_row(f"toy's agent without latent, stride {stride}", strides("masked", stride), levels)
    if arguments.striding:
        for guide, name in (("toy", "toy's agent"), ("masked", "toy's agent without latent")):
            act = agent(arguments.striding)
            print_row(f"{name}, learned strides", strides(guide, None, act), levels)
    if arguments.transfer:
        settings = dict(rllib_sami.exports.checkpoints.load(arguments.transfer).config.env_config)
        striding = settings.get("striding") and (arguments.striding or settings["striding"])
        chosen = {"striding": striding} if striding else {"fixed_stride": settings["fixed_stride"]}
        for masked in (False, True):
            env = task_transfer.make_high_level(**parts, **chosen, masked=masked)
            name = f"high level{' without latent' if masked else ''}"
            print_row(name, play(env, agent(arguments.transfer), arguments.episodes), levels)
    for path in arguments.alone:
        print_row(path, alone(path, arguments), levels)


def alone(path: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Plays the tasks with an agent that learned them on the body itself; returns what happened in each episode."""
    settings = {"max_steps": None}  # as many as the body has by itself, in training fewer
    results = rllib_sami.evaluation.evaluate([path], [arguments.split], arguments.episodes, env_config=settings)
    return [
        {
            "quantity": segment.quantity,
            "return": results.episodes["return"][segment.episode],
            "error": segment.late_error(),
            "success": results.episodes["success"][segment.episode],
            "strides": [1],
            "recognised": np.nan,
        }
        for segment in segments(results)
    ]


def agent(path: str) -> Act:
    """Returns the actions of a trained agent without memory."""
    return rllib_sami.load(path).act


def mean_return(rows: Sequence[dict[str, Any]], quantity: str) -> float:
    return float(np.mean([row["return"] for row in rows if row["quantity"] == quantity]))


def print_row(name: str, rows: Sequence[dict[str, Any]], levels: dict[str, tuple[float, float]]) -> None:
    cells = []
    for quantity, (floor, best) in levels.items():
        mine = [row for row in rows if row["quantity"] == quantity]
        cells += [
            f"{sum(row['success'] for row in mine)}/{len(mine)}",
            f"{np.median([row['error'] for row in mine]):.2f}",
            f"{mean_return(rows, quantity):.0f}",
            f"{(mean_return(rows, quantity) - floor) / (best - floor):.2f}",
        ]
    cells += [
        f"{np.mean([row['recognised'] for row in rows]):.2f}",
        f"{np.mean([stride for row in rows for stride in row['strides']]):.1f}",
    ]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
