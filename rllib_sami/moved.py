"""Imports of modules under their old names, for older checkpoints, runs and programs.

A checkpoint contains the names of its classes, and Tune's state of a run that of its stopper. Each old module maps to
the modules that have its content now, which are searched in this order.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_SAMI, _SAC = "rllib_sami.algorithms.sami.sami", "rllib_sami.algorithms.sac.sac"
_OFF_POLICY = "rllib_sami.algorithms.off_policy"
MOVED: dict[str, tuple[str, ...]] = {
    "rllib_sami.algorithm": (_SAMI, f"{_OFF_POLICY}.algorithm"),
    "rllib_sami.base": ("rllib_sami.algorithms.sami.context_config", "rllib_sami.algorithms.base.algorithm"),
    "rllib_sami.cli": ("rllib_sami_cli",),
    "rllib_sami.cli.ending": ("rllib_sami_cli.ending",),
    "rllib_sami.context_module": ("rllib_sami.algorithms.sami.context_module",),
    "rllib_sami.contrast_learner": ("rllib_sami.algorithms.sami.contrast_learner",),
    "rllib_sami.core.contrast": ("rllib_sami.algorithms.sami.contrast",),
    "rllib_sami.core.pairing": ("rllib_sami.algorithms.sami.pairing",),
    "rllib_sami.core.sampling": ("rllib_sami.algorithms.sami.sampling",),
    "rllib_sami.core.task_store": ("rllib_sami.replay_buffers.episode_store",),
    "rllib_sami.core.update": ("rllib_sami.algorithms.sami.update", "rllib_sami.algorithms.sac.update"),
    "rllib_sami.env_runner": ("rllib_sami.env_runners.array_env_runner",),
    "rllib_sami.export": ("rllib_sami.exports.agents", "rllib_sami.exports.writing"),
    "rllib_sami.learner": (_SAMI, "rllib_sami.algorithms.base.learner", f"{_OFF_POLICY}.learner"),
    "rllib_sami.loading": ("rllib_sami.exports.loading",),
    "rllib_sami.offline": ("rllib_sami.replay_buffers.offline",),
    "rllib_sami.presets": ("rllib_sami.algorithms.sami.presets", _SAC),
    "rllib_sami.replay_buffer": ("rllib_sami.replay_buffers.task_episode_replay_buffer",),
    "rllib_sami.rl_module": (_SAMI, "rllib_sami.algorithms.base.acting_batch"),
    "rllib_sami.sappo": ("rllib_sami.algorithms.sappo.sappo",),
    "rllib_sami.split_evaluation": ("rllib_sami.algorithms.base.split_evaluation",),
}
RENAMED = {"SaMIEnvRunner": "ArrayEnvRunner", "TaskStore": "EpisodeStore"}
# Checkpoints that Tune wrote name every method of their class; nothing calls these any more.
_RENAMED_METHODS = {
    "_look_after_health": "_empty_results",
    "_metrics_to_come": "_empty_results",
    "_take_weights": "_copy_weights",
    "_warn_of_episodes": "_warn_of_sample",
}


class _OldModule(ModuleType):
    """Looks up its content in the modules that replace it."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            for module in MOVED[self.__name__]:
                found = importlib.import_module(module)
                if hasattr(found, RENAMED.get(name, name)):
                    return _with_old_methods(getattr(found, RENAMED.get(name, name)))
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, (self.__name__,)


def _with_old_methods(value: Any) -> Any:
    for old, today in _RENAMED_METHODS.items() if isinstance(value, type) else ():
        if hasattr(value, today) and not hasattr(value, old):
            setattr(value, old, getattr(value, today))
    return value


class _Finder(MetaPathFinder, Loader):
    """Finds modules by their old names, if nothing else finds them."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        is_package = any(old.startswith(f"{name}.") for old in MOVED)
        return ModuleSpec(name, self, is_package=is_package) if name in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _OldModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Does nothing, because each name is looked up when it is read."""


def install() -> None:
    """Makes old names importable; calling it again changes nothing."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def todays_path(path: str) -> str:
    """Returns today's path of a class, such as ``rllib_sami.presets.SaCCM``; others are returned as they are."""
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(module), name, None) if module in MOVED else None
    return f"{found.__module__}.{found.__qualname__}" if isinstance(found, type) else path
