"""How often agents whose actions are skills reach the goal of a maze, in training and afterwards.

    rllib train file tuned_examples/skimo/maze_large.yaml --seed 1 --storage-path results/1
    python benchmarks/skimo.py results/1/maze_large_skimo results/2/maze_large_skimo

In training, with its noise, of the last 20 episodes at some numbers of environment steps, and the mean of these shares
over the last of them. Afterwards, the newest checkpoint plays the most likely skills in 50 episodes. CPU seconds are
those of the first 160,000 steps.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from rllib_sami.evaluation import evaluate

AT = (40_000, 60_000, 80_000, 100_000)
LAST = (120_000, 161_000)
EPISODES = 50


def results(run: Path) -> list[dict]:
    """Returns the results of a run's newest trial, one for each iteration of the first 160,000 steps."""
    file = max(run.glob("*/result.json"), key=lambda file: file.stat().st_mtime)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return [row for row in rows if row["num_env_steps_sampled_lifetime"] <= LAST[1]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    head = ["run", *(f"{at:,}" for at in AT), f"{LAST[0]:,} to 160,000 steps", "afterwards", "CPU seconds"]
    print(f"| {' | '.join(head)} |\n|---|{'---:|' * (len(head) - 1)}")
    for run in parser.parse_args().runs:
        rows = results(run)
        steps = np.array([row["num_env_steps_sampled_lifetime"] for row in rows])
        reached = np.array([row["env_runners"]["success_rate"] for row in rows])
        shares = [reached[steps <= at][-1] for at in AT] + [reached[steps >= LAST[0]].mean()]
        afterwards = evaluate(str(run), episodes=EPISODES).episodes["success"].mean()
        numbers = (*(f"{share:.2f}" for share in [*shares, afterwards]), f"{rows[-1]['cpu_time_total_s']:,.0f}")
        print(f"| {' | '.join([str(run), *numbers])} |")


if __name__ == "__main__":
    main()
