"""A suite as YAML, and the jobs it expands to."""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import rllib_sami  # noqa: F401 - registers algorithms and environments
from rllib_sami.core.text import did_you_mean
from rllib_sami_cli import schema
from rllib_sami_cli.config_schema import check_keys, check_type
from rllib_sami_cli.errors import UserError
from rllib_sami_cli.experiment import EXPERIMENT_KEYS, Experiment, inherit, merge, read_mapping
from rllib_sami_cli.folders import plain

SUITES = Path(__file__).parent / "suites"
ENV_STEPS = "num_env_steps_sampled_lifetime"  # what ends a job
# One process is one job: what the machine has decides how many run at once, not how one of them runs.
LOCAL = {"num_env_runners": 0, "num_gpus_per_learner": 0}
_NAME = re.compile(r"[\w .=+-]+")  # what a folder and a table take
_ALGORITHM = {"run": str | None, "config": dict | None}
_ENVIRONMENT = {"extends": Any, "env": str, "stop": dict, "config": dict | None, "episodes": Any,
                "evaluation_env_config": dict | None, "algorithms": dict | None}  # fmt: skip
_SUITE = {"seeds": list, "episodes": Any, "config": dict | None, "algorithms": dict, "environments": dict}


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

    def experiment(self, name: str) -> Experiment:
        """Returns its training as an experiment of ``rllib train``."""
        body = {"run": self.run, "env": self.env, "config": self.config, "stop": {ENV_STEPS: self.env_steps}}
        return Experiment(name, body, "suite")


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
    suite = _checked(read_mapping(path), _SUITE, str(path))
    for key in ("seeds", "algorithms", "environments"):
        if not suite.get(key):
            raise UserError(f"{path}: '{key}' is missing or empty.")
    if not all(type(seed) is int for seed in suite["seeds"]):
        raise UserError(f"{path}: 'seeds' must be a list of integers, such as [0, 1, 2], not {suite['seeds']!r}.")
    for name in (*suite["algorithms"], *suite["environments"]):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UserError(
                f"{path}: {name!r} cannot name an algorithm or an environment, as folders have these names: take "
                "letters, digits, spaces and _ . = + - alone."
            )
    algorithms = {
        name: _checked(body, _ALGORITHM, f"{path}, algorithm '{name}'") for name, body in suite["algorithms"].items()
    }
    environments = {name: _environment(suite, name, body, path) for name, body in suite["environments"].items()}
    jobs = [
        _job(algorithm, algorithms[algorithm], name, environment, seed, f"{path}, environment '{name}'")
        for seed in suite["seeds"]
        for name, environment in environments.items()
        for algorithm in algorithms
    ]
    name, times = Counter(job.id for job in jobs).most_common(1)[0]
    if times > 1:
        raise UserError(f"{path}: {times} of its jobs would be '{name}'. Rename algorithms or environments, or take a "
                        "seed away that is there twice.")  # fmt: skip
    ids = matching([job.id for job in jobs], only)
    return [job for job in jobs if job.id in ids]


def matching(ids: list[str], patterns: Iterable[str], what: str = "jobs") -> list[str]:
    """Returns the ids that fit one of the patterns of ``--only``; all of them without patterns.

    Raises:
        UserError: None fits.
    """
    patterns = list(patterns)
    kept = [name for name in ids if not patterns or any(fnmatch.fnmatchcase(name, each) for each in patterns)]
    if not kept:
        raise UserError(f"--only {' '.join(patterns)}: none of the {len(ids)} {what} fits, such as {ids[0]}.")
    return kept


def check_jobs(jobs: Iterable[Job]) -> Iterator[Job]:
    """Checks the settings of jobs and builds their environments once, trains nothing; yields each that passed.

    Raises:
        UserError: The algorithm refuses a job's settings, or the environment its own.
    """
    passed: set[tuple[str, str]] = set()
    for job in jobs:
        if (job.algorithm, job.environment) not in passed:  # seeds differ in nothing that could be refused
            schema.check(job.experiment(job.id))
            if job.evaluation_env_config:
                evaluated = job.experiment(job.id)
                env_config = {**job.config.get("env_config", {}), **job.evaluation_env_config}
                evaluated.body["config"] = {"env_config": env_config}
                schema.check(evaluated)
            passed.add((job.algorithm, job.environment))
        yield job


def _environment(suite: dict[str, Any], name: str, body: Any, path: Path) -> dict[str, Any]:
    """Returns what all jobs on an environment share: its base, the suite's own settings, then its own."""
    place = f"{path}, environment '{name}'"
    own = _checked(body, _ENVIRONMENT, place)
    base = inherit({"extends": own.pop("extends")}, path) if "extends" in own else {}
    shared = {"config": suite.get("config") or {}, "episodes": suite.get("episodes", 5)}
    merged = merge(merge(base, shared), own)
    special = _checked(merged.get("algorithms"), dict.fromkeys(suite["algorithms"], Any), f"{place}, algorithms")
    merged["algorithms"] = {
        algorithm: _checked(body, _ALGORITHM, f"{place}, algorithm '{algorithm}'")
        for algorithm, body in special.items()
    }
    return merged


def _job(algorithm: str, chosen: dict, name: str, environment: dict[str, Any], seed: int, place: str) -> Job:
    shared = {key: environment.get(key) for key in EXPERIMENT_KEYS}
    body = merge(merge(shared, chosen), environment["algorithms"].get(algorithm, {}))
    stop = body["stop"] or {}
    steps = stop.get(ENV_STEPS)
    if type(steps) is not int or steps < 1 or len(stop) > 1:
        raise UserError(f"{place}: 'stop' must be {{{ENV_STEPS}: N}} and nothing else.")
    return Job(
        algorithm=algorithm,
        environment=name,
        seed=seed,
        run=body["run"] or algorithm,
        env=body["env"],
        config=merge(body["config"] or {}, {**LOCAL, "seed": seed}),
        env_steps=steps,
        episodes=environment["episodes"],
        evaluation_env_config=environment.get("evaluation_env_config") or {},
    )


def _checked(body: Any, types: dict[str, Any], place: str) -> dict[str, Any]:
    """Returns a mapping of the suite, checked, without templates for anchors (``x-...``); an empty one for None."""
    if not isinstance(body, dict | None):
        raise UserError(f"{place} must be a mapping, such as {{name: ...}}, not {body!r}.")
    body = {key: value for key, value in (body or {}).items() if not str(key).startswith("x-")}
    check_keys(body, types, place)
    for key, value in body.items():
        check_type(key, value, types[key], place)
    episodes = body.get("episodes", 1)
    if type(episodes) is not int or episodes < 1:
        raise UserError(f"{place}: 'episodes' must be an integer >= 1, not {episodes!r}.")
    return body
