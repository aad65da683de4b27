"""Stages: ``${name.checkpoint}`` in an experiment is the last checkpoint of an earlier experiment of its file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray.tune.search.sample import Categorical

from rllib_sami.core.text import did_you_mean
from rllib_sami_cli.best import ranking
from rllib_sami_cli.errors import UserError
from rllib_sami_cli.experiment import Experiment
from rllib_sami_cli.folders import Run
from rllib_sami_cli.search import Search
from rllib_sami_cli.spaces import GRID

# The name may have dots of its own. Text without a dot, such as ${HOME}, is left alone.
_REFERENCE = re.compile(r"\$\{([^{}]+)\.([^{}.]*)\}")
_ALLOWED = ("config", "restore")


def references(value: Any) -> list[str]:
    """Returns the names of the experiments whose checkpoints a (nested) value refers to."""
    return [name for name, _ in _pairs(value)]


def fill(value: Any, checkpoints: Mapping[str, str]) -> Any:
    """Returns a (nested) value with each reference replaced by the experiment's checkpoint, as far as it is known."""
    return map_texts(value, lambda text, _: _REFERENCE.sub(lambda match: checkpoints.get(match[1], match[0]), text))


def check_references(experiment: Experiment, experiments: Sequence[Experiment]) -> None:
    """Raises a UserError for a reference that can never be replaced.

    Args:
        experiment: The one to check.
        experiments: All of the file, in their order.
    """
    known = {each.stage: each for each in experiments}
    earlier = [*known][: [*known].index(experiment.stage)]
    for key, value in experiment.body.items():
        for name, what in _pairs(value):
            place = f"{experiment.place}, {key}: '${{{name}.{what}}}'"
            if key not in _ALLOWED:
                raise UserError(f"{place}: references are replaced in {' and '.join(_ALLOWED)} only.")
            if name not in known:
                raise UserError(f"{place}: the file has no experiment '{name}'. {did_you_mean(name, known)}")
            if name == experiment.stage:
                raise UserError(f"{place}: an experiment cannot start from its own checkpoint.")
            if name not in earlier:
                raise UserError(f"{place}: '{name}' comes later in the file. Move it before '{experiment.stage}'.")
            if what != "checkpoint":
                raise UserError(f"{place}: an experiment has no '{what}' to refer to. Write ${{{name}.checkpoint}}.")
            if _saves_nothing(known[name].body.get("checkpoint_config")):
                raise UserError(
                    f"{place}: '{name}' has checkpoint_at_end: false and no checkpoint_frequency, so it has no "
                    "checkpoint. Give it one of them."
                )


def last_checkpoint(run: Run, search: Search) -> str | None:
    """Returns the newest checkpoint of a run, of its best trial if it has several; None if there is none."""
    trials = [trial for trial in run.trials() if trial["checkpoint"]]
    if not trials:
        return None
    best, *_ = [*ranking([trial["result"] for trial in trials], search), 0]
    return str(trials[best]["checkpoint"])


def _saves_nothing(checkpoint_config: Any) -> bool:
    given = checkpoint_config if isinstance(checkpoint_config, dict) else {}
    return given.get("checkpoint_at_end") is False and not given.get("checkpoint_frequency")


def _pairs(value: Any) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    map_texts(value, lambda text, _: found.extend(_REFERENCE.findall(text)))
    return found


def map_texts(value: Any, function: Callable[[str, str], Any], name: str = "") -> Any:
    """Returns a nested value with ``function`` applied to each text in it, and to the key under which it stands.

    The key of a search space is the one under which the space stands.
    """
    if isinstance(value, str):
        return function(value, name)
    if isinstance(value, dict):
        return {key: map_texts(item, function, name if key == GRID else key) for key, item in value.items()}
    if isinstance(value, list):
        return [map_texts(item, function, name) for item in value]
    if isinstance(value, tuple):
        return tuple(map_texts(item, function, name) for item in value)
    if isinstance(value, Categorical):
        return Categorical(map_texts(value.categories, function, name)).uniform()
    return value
