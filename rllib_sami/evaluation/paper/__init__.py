"""The paper's published numbers as ``Results``."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from rllib_sami.evaluation.results import Results

_FOLDER = Path(__file__).parent
_SEEDS = [f"seed{seed}" for seed in range(100, 105)]
_SPLITS = {"training": "train"}
_ENVIRONMENTS = {"WalkerHopper": "CrippledWalker"}  # what the paper calls Crippled Walker is WalkerHopper in its code
_SKILLS = {"push_rate": "push", "roll_rate": "roll", "pick_and_place_rate": "pick_and_place"}
SOURCE = "https://github.com/uoe-agents/SaMI, data/MuJoCo.xlsx (Table 2) and data/Panda-gym.xls"


def paper_results() -> Results:
    """Returns Table 2: TESAC, CCM, SaTESAC and SaCCM on ten MuJoCo environments, five training seeds each.

    Only the mean of a seed over all tasks and episodes of a split is published: each split is one task (0) with one
    episode here. Lengths, environment steps and contexts are unknown.
    """
    table = _read("mujoco.csv").query("table == 'Table2'")
    rows = table.assign(
        algorithm=table["method"],
        run=table["method"] + " " + table["env"] + " " + table["seed"].astype(str),
        env_steps=-1,
        context="learned",
        explore=False,
        task_id=0,
        episode=0,
        episode_seed=-1,
        length=-1,
    ).rename(columns={"score": "return"})
    return Results(rows, None, {"source": SOURCE, "note": "one row is one training seed's published mean over a split"})


def paper_cells() -> pd.DataFrame:
    """Returns the success rates of PandaPush over friction and mass (kg), as ``tables.cells`` does for ours."""
    return _cells("success_rate").rename(columns={"rate": "mean"})


def paper_skill_rates() -> pd.DataFrame:
    """Returns the skill rates of PandaPush over friction and mass (kg), as ``tables.skill_rates`` does for ours.

    The label is the authors'; the rates are of all episodes, failures included.
    """
    return pd.concat([_cells(metric).assign(skill=skill) for metric, skill in _SKILLS.items()], ignore_index=True)


def _cells(metric: str) -> pd.DataFrame:
    table = _read("panda.csv").query("metric == @metric").dropna(subset=["friction", "mass"])
    table = table.rename(columns={"method": "agent", "friction": "task_table_friction", "mass": "task_cube_mass"})
    keys = ["agent", "environment", "task_table_friction", "task_cube_mass", "split"]
    rates = table.groupby(keys, sort=False)["score"].mean().rename("rate").reset_index()
    return rates.assign(trained=rates["split"] == "train").drop(columns="split")


def _read(name: str) -> pd.DataFrame:
    """Returns one row per seed: the file's other columns, ``environment``, ``split``, ``seed`` and ``score``."""
    table = pd.read_csv(_FOLDER / name)
    others = [column for column in table if column not in _SEEDS]
    table = table.melt(id_vars=others, value_vars=_SEEDS, var_name="seed", value_name="score")
    return table.assign(
        seed=table["seed"].str.removeprefix("seed").astype(int),
        split=table["split"].replace(_SPLITS),
        environment="SaMI/" + table["env"].replace(_ENVIRONMENTS) + "-v0",
    )
