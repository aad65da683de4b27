"""Draws the skills of several agents beside each other, for the README.

It is called with their checkpoints:

    python benchmarks/skill_picture.py CHECKPOINT CHECKPOINT ... --out docs/skills.svg
"""

import argparse
from pathlib import Path

import matplotlib

from rllib_sami.algorithms.skill_discovery.evaluation import SKILLS
from rllib_sami.evaluation import evaluate, skill_figures, skill_tables
from rllib_sami.evaluation.sections.skills import walks_of

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    results = evaluate(arguments.checkpoints, splits=[SKILLS])
    table = skill_tables.per_run(results).set_index("run", drop=False)
    order = [checkpoint["run"] for part in results.parts for checkpoint in part["checkpoints"]]
    walks = [walks_of(results, table.loc[run], SKILLS) for run in order]
    matplotlib.rcParams["svg.hashsalt"] = "rllib-sami"
    skill_figures.skill_paths(walks).savefig(arguments.out, metadata={"Date": None})
