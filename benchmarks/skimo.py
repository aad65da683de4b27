"""How often agents whose actions are skills reach the goal of a maze, in training and afterwards.

    rllib train file tuned_examples/skimo/maze_large.yaml --seed 1 --storage-path results/1
    python benchmarks/skimo.py results/1/maze_large_skimo results/2/maze_large_skimo

Training episodes are those in the replay buffer of the newest checkpoint, with the noise of training; their steps are
counted in full skills. Afterwards, the most likely skills are played in 50 episodes.
"""

import argparse
import itertools
import json
import math
from pathlib import Path

import numpy as np

from rllib_sami.checkpoints.arrays import read_state
from rllib_sami.evaluation import evaluate
from rllib_sami.exports.checkpoints import find

BINS = 4
EPISODES = 50


def training(checkpoint: Path, skill_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the environment steps at which training episodes ended, and whether they reached the goal."""
    table = read_state(checkpoint / "replay_buffer")["store"]["table"]
    return np.cumsum(table["length"]) * skill_length, table["episode_return"] > 0


def cpu_seconds(run: Path) -> float:
    """Returns the CPU seconds of a run's newest trial."""
    results = max(run.glob("*/result.json"), key=lambda file: file.stat().st_mtime)
    return json.loads(results.read_text().splitlines()[-1])["cpu_time_total_s"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--skill-length", type=int, default=10)
    arguments = parser.parse_args()
    rows = []
    for run in arguments.runs:
        steps, reached = training(find(run), arguments.skill_length)
        edges = np.linspace(0, steps[-1], BINS + 1)
        shares = [reached[(steps > a) & (steps <= b)].mean() for a, b in itertools.pairwise(edges)]
        success = evaluate(str(run), episodes=EPISODES).episodes["success"].mean()
        rows.append([str(run), *(f"{share:.2f}" for share in shares), f"{success:.2f}", f"{cpu_seconds(run):,.0f}"])
    last = math.ceil(steps[-1] / 1000)
    quarters = [f"{round(last * i / BINS)} to {round(last * (i + 1) / BINS)} thousand" for i in range(BINS)]
    for cells in (["run", *quarters, "afterwards", "CPU seconds"], ["---", *["---:"] * (BINS + 2)], *rows):
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
