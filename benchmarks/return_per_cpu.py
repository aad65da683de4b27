"""Return over CPU time of one setting: a learning curve whose x axis is what a user pays.

\b
    python benchmarks/return_per_cpu.py tuned_examples/saccm_half_cheetah.yaml --cpu-seconds 600 --out curve.csv
    python benchmarks/return_per_cpu.py tuned_examples/saccm_half_cheetah.yaml --settings-of \\
        tuned_examples/paper/half_cheetah.yaml --name paper --out curve.csv
    python benchmarks/return_per_cpu.py tuned_examples/saccm_half_cheetah.yaml --set train_episodes=6 --name six

Trains in this process with one thread until its CPU time is used up, and appends a line per iteration to ``--out``:
CPU and wall seconds, environment steps, updates, mean training return per step (over tasks, with exploration). Runs at
the same time on other cores disturb CPU time by a few percent only.
"""  # noqa: D301 - click's mark for "do not rewrap", not a backslash

import csv
import logging
import time
from pathlib import Path

import click
import ray

from rllib_sami.registration import ALGORITHMS
from rllib_sami_cli.experiment import apply_settings, load

FIELDS = ("name", "env", "seed", "cpu_s", "wall_s", "env_steps", "updates", "return_per_step", "sance_bound")
LOCAL = {"num_env_runners": 0, "num_gpus_per_learner": 0}


@click.command(help=__doc__)
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.option("--settings-of", type=click.Path(exists=True, path_type=Path), help="Take `config` of this file instead.")
@click.option("--set", "settings", multiple=True, help="Setting of the algorithm, as of `rllib train file`.")
@click.option("--cpu-seconds", default=600.0, show_default=True)
@click.option("--max-env-steps", type=int, help="Ends earlier, after so many environment steps.")
@click.option("--seed", default=0, show_default=True)
@click.option("--name", default="default", show_default=True, help="Of the setting, in the table.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("return_per_cpu.csv"), show_default=True)
def main(file, settings_of, settings, cpu_seconds, max_env_steps, seed, name, out) -> None:
    ray.init(num_cpus=1, include_dashboard=False, logging_level=logging.ERROR)
    logging.getLogger("ray.rllib").setLevel(logging.ERROR)
    (experiment,) = load(file)
    body = experiment.body
    env_config = body["config"].get("env_config", {})
    if settings_of:
        body = {**body, "config": load(settings_of)[0].body["config"]}
    body = apply_settings(body, list(settings))
    overrides = {**body["config"], **LOCAL, "env_config": env_config, "seed": seed}
    config = ALGORITHMS[body["run"]].get_default_config().environment(body["env"]).update_from_dict(overrides)
    algorithm = config.build_algo()
    length = env_config.get("max_steps") or algorithm.env_runner.env.envs[0].unwrapped.max_steps

    is_new = not out.exists()
    cpu, wall, steps = time.process_time(), time.perf_counter(), 0
    while time.process_time() - cpu < cpu_seconds and steps < (max_env_steps or steps + 1):
        result = algorithm.train()
        learner = result.get("learners", {}).get("default_policy", {})
        steps = int(result["num_env_steps_sampled_lifetime"])
        line = {
            "name": name,
            "env": body["env"],
            "seed": seed,
            "cpu_s": round(time.process_time() - cpu, 1),
            "wall_s": round(time.perf_counter() - wall, 1),
            "env_steps": steps,
            "updates": int(learner.get("num_updates_lifetime", 0)),
            "return_per_step": round(result["env_runners"].get("episode_return_mean", float("nan")) / length, 4),
            "sance_bound": round(float(learner.get("sance_bound", float("nan"))), 3),
        }
        with out.open("a", newline="") as handle:
            writer = csv.DictWriter(handle, FIELDS)
            if is_new:
                writer.writeheader()
                is_new = False
            writer.writerow(line)


if __name__ == "__main__":
    main()
