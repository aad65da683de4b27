"""Paths in settings: agents of which an environment is made, such as a ``toy``, and data sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rllib_sami.exports import checkpoints
from rllib_sami.exports.composed import AGENTS, COMPOSED, CONTROL
from rllib_sami.exports.skill_control import check_task
from rllib_sami.exports.transfer_parts import check_agent
from rllib_sami_cli import spaces, stages
from rllib_sami_cli.errors import UserError, one_line


def find_agents(config: dict[str, Any], place: str) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns settings in which each agent is the absolute path of a checkpoint, also in search spaces.

    Trials run in other folders, and the newest checkpoint of an experiment is another one later. The second value has
    for each folder as it was given the checkpoint in it.

    Args:
        config: The settings.
        place: Where their ``env_config`` stands, for messages.
    """
    found: dict[str, str] = {}
    # The environment, which would report an unsuitable agent, cannot be made before other stages have ended.
    awaits = stages.references(config.get("env_config"))
    if awaits and CONTROL in _composed(config):
        try:
            check_task(next(spaces.alternatives(config["env_config"])))
        except Exception as error:  # whatever the task's own code raises
            raise UserError(f"{place}: {one_line(error)}") from error

    def find(name: str, path: str) -> str:
        try:
            checkpoint = str(checkpoints.find(path))
            for env in _composed(config) if awaits else ():
                check_agent(env, name, checkpoint)
        except ValueError as error:
            if awaits:
                raise UserError(f"{place}: {one_line(error)}") from error
            return path
        found[str(Path(path).expanduser().absolute())] = checkpoint
        return checkpoint

    return _map_agents(config, find), found


def replace_agents(config: dict[str, Any], others: Mapping[str, str]) -> dict[str, Any]:
    """Returns settings with other paths of agents."""
    return _map_agents(config, lambda name, path: others.get(path, path))


def with_absolute_data(config: dict[str, Any]) -> dict[str, Any]:
    """Returns settings in which the folder of a data set is absolute, also in search spaces: trials run elsewhere."""

    def of_data(text: str, name: str) -> str:
        return str(Path(text).expanduser().absolute()) if name == "data" and text else text

    return config | {"data": stages.map_texts(config["data"], of_data, "data")}


def _map_agents(config: dict[str, Any], function: Callable[[str, str], str]) -> dict[str, Any]:
    """Returns settings with ``function`` applied to the name and the path of each agent that is no reference."""

    def of_agents(text: str, name: str) -> str:
        return function(name, text) if name in AGENTS and not stages.references(text) else text

    if not _composed(config) or "env_config" not in config:
        return config
    return config | {"env_config": stages.map_texts(config["env_config"], of_agents)}


def _composed(config: dict[str, Any]) -> list[str]:
    """Returns which of the environments that settings name are made of agents."""
    return [env for env in spaces.alternatives(config.get("env")) if env in COMPOSED]
