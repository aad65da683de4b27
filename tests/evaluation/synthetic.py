"""Results that nobody played: two algorithms, three seeds, tasks that the contexts of one of them tell apart."""

import numpy as np
import pandas as pd

from rllib_sami.evaluation.results import Contexts, Results

STEPS = np.array([0, 1, 2, 4, 8, 16, 32, 64])
SPLITS = {
    "train": [(mass, joint) for mass in (1.0, 1.15) for joint in (3.0, 4.0)],
    "moderate": [(1.0, 0.0), (1.0, 1.0)],
    "extreme": [(0.25, 5.0), (1.75, 5.0)],
}
LEVEL = {"SaCCM": {"train": 3000, "moderate": 2400, "extreme": 1900}, "TESAC": {"train": 2800, "moderate": 1900,
         "extreme": 1200}}  # fmt: skip


def cheetah(episodes: int = 3, seeds: tuple[int, ...] = (0, 1, 2), with_contexts: bool = True) -> Results:
    """CrippledHalfCheetah-like: returns, two skills, contexts that settle (SaCCM's by task, TESAC's hardly)."""
    rng = np.random.default_rng(0)
    rows, contexts = [], []
    for algorithm in LEVEL:
        for seed in seeds:
            places = rng.normal(size=(3, 12, 3))
            for number, (split, tasks) in enumerate(SPLITS.items()):
                for task_id, (mass, joint) in enumerate(tasks):
                    for episode in range(episodes):
                        level = LEVEL[algorithm][split] - 100 * task_id
                        rows.append(
                            {
                                "algorithm": algorithm,
                                "run": f"{algorithm} seed {seed}",
                                "seed": seed,
                                "env_steps": 100_000,
                                "environment": "SaMI/CrippledHalfCheetah-v0",
                                "split": split,
                                "task_id": task_id,
                                "task_mass_scale": mass,
                                "task_joint": joint,
                                "episode": episode,
                                "episode_seed": 1000 * number + 10 * task_id + episode,
                                "return": level + 80 * rng.normal() + 60 * seed,
                                "length": 65 if episode else 40,
                                "success": None,
                                "skill": "flip" if joint > 2 else "run",
                                "reference_skill": None,
                                "context": "learned",
                                "explore": False,
                            }
                        )
                        settled = 1 - np.exp(-STEPS / 8.0)[:, None]
                        clear = 4.0 if algorithm == "SaCCM" else 0.3
                        path = clear * settled * places[number, task_id] + 0.3 * rng.normal(size=(1, 3))
                        path = path + 0.05 * rng.normal(size=path.shape)
                        contexts.append(np.where(STEPS[:, None] < rows[-1]["length"], path, np.nan))
    values = np.stack(contexts).astype(np.float32)
    return _results(rows, Contexts(steps=STEPS, values=values) if with_contexts else None)


def panda(episodes: int = 4) -> Results:
    """PandaPush-like: a grid of friction and mass, successes and skills, no contexts."""
    rng = np.random.default_rng(1)
    cells = {
        "train": [(0.1, 1.0), (0.1, 5.0), (1.0, 1.0), (5.0, 1.0)],
        "moderate": [(1.0, 5.0), (5.0, 5.0)],
        "extreme": [(30.0, 1.0), (30.0, 5.0)],
    }
    rows = []
    for algorithm in ("SaCCM", "TESAC"):
        for seed in (0, 1):
            for split, tasks in cells.items():
                for task_id, (friction, mass) in enumerate(tasks):
                    for episode in range(episodes):
                        success = bool(rng.random() < (0.8 if algorithm == "SaCCM" else 0.5))
                        rows.append(
                            {
                                "algorithm": algorithm,
                                "run": f"{algorithm} seed {seed}",
                                "seed": seed,
                                "env_steps": 50_000,
                                "environment": "SaMI/PandaPush-v0",
                                "split": split,
                                "task_id": task_id,
                                "task_table_friction": friction,
                                "task_cube_mass": mass,
                                "episode": episode,
                                "episode_seed": 100 * task_id + episode,
                                "return": -3.0 - rng.random(),
                                "length": 50,
                                "success": success,
                                "skill": "push" if mass < 5 else "roll",
                                "reference_skill": "push",
                                "context": "learned",
                                "explore": False,
                            }
                        )
    return _results(rows, None)


def _results(rows: list[dict], contexts: Contexts | None) -> Results:
    episodes = pd.DataFrame(rows)
    order = ["algorithm", "run", "context", "split", "task_id", "episode"]
    index = episodes.sort_values(order, kind="stable").index
    if contexts is not None:
        contexts = Contexts(steps=contexts.steps, values=contexts.values[index])
    episodes = episodes.loc[index].reset_index(drop=True)
    episodes["success"] = episodes["success"].astype("boolean")
    return Results(episodes=episodes, contexts=contexts, provenance={"command": "synthetic"})
