"""A suite as YAML, and the jobs it expands to."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import rllib_sami  # noqa: F401 - registers algorithms and environments
from rllib_sami.core.text import did_you_mean
from rllib_sami_cli import schema
from rllib_sami_cli.errors import UserError
from rllib_sami_cli.experiment import EXPERIMENT_KEYS, Experiment, inherit, merge, read_mapping
from rllib_sami_cli.folders import plain

SUITES = Path(__file__).parent / "suites"
ENV_STEPS = "num_env_steps_sampled_lifetime"  # what ends a job
# One process is one job: what the machine has decides how many run at once, not how one of them runs.
LOCAL = {"num_env_runners": 0, "num_gpus_per_learner": 0}
_NAME = re.compile(r"[\w .=+-]+")  # what a folder and a table take
_SUITE_KEYS = ("seeds", "episodes", "config", "algorithms", "environments")
_ALGORITHM_KEYS = ("run", "config")
_ENVIRONMENT_KEYS = ("extends", "env", "stop", "config", "episodes", "evaluation_env_config", "algorithms")


@dataclass(frozen=True)
class Job:
    """One training of one agent, and its evaluation.

    Attributes:
        algorithm: Name in the report.
        environment: Name in the report.
        seed: Of training.
        run: Registered name of the algorithm.
        env: Id of the environment.
        config: The algorithm's settings, with ``seed``; those not named are its defaults.
        env_steps: Trained for.
        episodes: Of each task in the evaluation.
        evaluation_env_config: Laid over ``env_config`` in the evaluation.
    """

    algorithm: str
    environment: str
    seed: int
    run: str
    env: str
    config: dict[str, Any]
    env_steps: int
    episodes: int
    evaluation_env_config: dict[str, Any]

    @property
    def id(self) -> str:
        """Name of the job and its folder, such as ``SaCCM-Pendulum-seed0``."""
        return f"{self.algorithm}-{self.environment}-seed{self.seed}"

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides what the job does, as JSON can hold it."""
        return plain(asdict(self))

    @property
    def fingerprint(self) -> str:
        """Hash of ``settings``."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:16]


def find_suite(name: str) -> Path:
    """Returns the file of a suite, given by name or path.

    Raises:
        UserError: There is none.
    """
    known = {file.stem: file for file in sorted(SUITES.glob("*.yaml"))}
    if name in known:
        return known[name]
    if not Path(name).is_file():
        raise UserError(f"suite '{name}': no such suite or file. {did_you_mean(name, known)}")
    return Path(name)


def load_jobs(path: Path, only: Iterable[str] = ()) -> list[Job]:
    """Reads a suite and returns its jobs, a seed of everything before the next.

    Args:
        path: The YAML file.
        only: Patterns such as ``SaCCM-*``; a job is kept if its id fits one of them. None keeps all.

    Raises:
        UserError: The file is no suite, or the patterns leave nothing.
    """
    suite = read_mapping(path)
    _check_keys(suite, _SUITE_KEYS, str(path))
    for key in ("seeds", "algorithms", "environments"):
        if not suite.get(key):
            raise UserError(f"{path}: '{key}' is missing or empty.")
    _check_types(suite, str(path))
    environments = {name: _environment(suite, name, body, path) for name, body in suite["environments"].items()}
    jobs = [
        _job(suite, algorithm, name, seed, body, path)
        for seed in suite["seeds"]
        for name, body in environments.items()
        for algorithm in suite["algorithms"]
    ]
    name, times = Counter(job.id for job in jobs).most_common(1)[0]
    if times > 1:
        raise UserError(f"{path}: {times} of its jobs would be '{name}'. Rename algorithms or environments, or take a "
                        "seed away that is there twice.")  # fmt: skip
    patterns = list(only)
    kept = [job for job in jobs if not patterns or any(fnmatch.fnmatchcase(job.id, pattern) for pattern in patterns)]
    if not kept:
        raise UserError(f"--only {' '.join(patterns)}: none of the {len(jobs)} jobs fits, such as '{jobs[0].id}'.")
    return kept


def check_jobs(jobs: Iterable[Job]) -> Iterator[Job]:
    """Checks the settings of jobs and builds their environments once, trains nothing; yields each that passed.

    Raises:
        UserError: The algorithm refuses a job's settings, or the environment its own.
    """
    passed: set[tuple[str, str]] = set()
    for job in jobs:
        if (job.algorithm, job.environment) not in passed:  # seeds differ in nothing that could be refused
            body = {"run": job.run, "env": job.env, "config": job.config, "stop": {ENV_STEPS: job.env_steps}}
            schema.check(Experiment(job.id, body, "suite"))
            if job.evaluation_env_config:
                env_config = {**job.config.get("env_config", {}), **job.evaluation_env_config}
                schema.check(Experiment(job.id, {**body, "config": {"env_config": env_config}}, "suite"))
            passed.add((job.algorithm, job.environment))
        yield job


def _environment(suite: dict[str, Any], name: str, body: Any, path: Path) -> dict[str, Any]:
    """Returns what all jobs on an environment share: its base, the suite's own settings, then its own."""
    if not isinstance(body, dict):
        raise UserError(f"{path}: environment '{name}' must be a mapping, such as {{extends: FILE, stop: {{...}}}}.")
    _check_keys(body, _ENVIRONMENT_KEYS, f"{path}, environment '{name}'")
    base = inherit({"extends": body["extends"]}, path) if "extends" in body else {}
    own = {key: value for key, value in body.items() if key != "extends"}
    merged = merge(merge(base, {"config": suite.get("config") or {}}), own)
    for key in ("stop", "config", "evaluation_env_config", "algorithms"):
        _check_mapping(merged.get(key), f"{path}, environment '{name}': '{key}'")
    _check_episodes(merged, f"{path}, environment '{name}'")
    return merged


def _job(suite: dict[str, Any], algorithm: str, name: str, seed: int, environment: dict[str, Any], path: Path) -> Job:
    place = f"{path}, environment '{name}'"
    chosen = suite["algorithms"][algorithm] or {}
    special = (environment.get("algorithms") or {}).get(algorithm) or {}
    _check_keys(environment.get("algorithms") or {}, tuple(suite["algorithms"]), f"{place}, algorithms")
    for body, where in ((chosen, f"{path}, algorithm '{algorithm}'"), (special, f"{place}, algorithm '{algorithm}'")):
        _check_mapping(body, where)
        _check_keys(body, _ALGORITHM_KEYS, where)
        _check_mapping(body.get("config"), f"{where}: 'config'")
    body = merge(merge({key: environment.get(key) for key in EXPERIMENT_KEYS}, chosen), special)
    steps = (body["stop"] or {}).get(ENV_STEPS)
    if not isinstance(steps, int) or steps < 1 or len(body["stop"]) > 1:
        raise UserError(f"{place}: 'stop' must be {{{ENV_STEPS}: N}} and nothing else.")
    return Job(
        algorithm=algorithm,
        environment=name,
        seed=seed,
        run=body["run"] or algorithm,
        env=body["env"],
        config=merge(body["config"] or {}, {**LOCAL, "seed": seed}),
        env_steps=steps,
        episodes=environment.get("episodes") or suite.get("episodes") or 5,
        evaluation_env_config=environment.get("evaluation_env_config") or {},
    )


def _check_types(suite: dict[str, Any], place: str) -> None:
    """Checks what is said of all jobs, and the names of algorithms and environments."""
    seeds = suite["seeds"]
    if not isinstance(seeds, list) or not all(type(seed) is int for seed in seeds):
        raise UserError(f"{place}: 'seeds' must be a list of whole numbers, such as [0, 1, 2], not {seeds!r}.")
    for key in ("config", "algorithms", "environments"):
        _check_mapping(suite.get(key), f"{place}: '{key}'")
    _check_episodes(suite, place)
    for name in (*suite["algorithms"], *suite["environments"]):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UserError(
                f"{place}: {name!r} cannot name an algorithm or an environment, as folders have these names: take "
                "letters, digits, spaces and _ . = + - alone."
            )


def _check_mapping(value: Any, place: str) -> None:
    if value is not None and not isinstance(value, dict):
        raise UserError(f"{place} must be a mapping, such as {{name: ...}}, not {value!r}.")


def _check_episodes(mapping: dict[str, Any], place: str) -> None:
    episodes = mapping.get("episodes")
    if episodes is not None and (type(episodes) is not int or episodes < 1):
        raise UserError(f"{place}: 'episodes' must be an integer >= 1, not {episodes!r}.")


def _check_keys(mapping: dict[str, Any], known: tuple[str, ...], place: str) -> None:
    for key in mapping:
        if key not in known and not str(key).startswith("x-"):  # x-...: a template for anchors
            raise UserError(f"{place}: unknown key '{key}'. {did_you_mean(key, known)}")
