"""Imports of modules under their old names, for older checkpoints and programs.

A checkpoint contains the names of its classes. Each old module maps to the modules that have its content now, which are
searched in this order.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_SAMI, _SAC, _OFF_POLICY = "algorithms.sami.sami", "algorithms.sac.sac", "algorithms.off_policy"
MOVED: dict[str, tuple[str, ...]] = {
    "rllib_sami.algorithm": (_SAMI, f"{_OFF_POLICY}.algorithm"),
    "rllib_sami.base": ("algorithms.sami.context_config", "algorithms.base.algorithm"),
    "rllib_sami.context_module": ("algorithms.sami.context_module",),
    "rllib_sami.contrast_learner": ("algorithms.sami.contrast_learner",),
    "rllib_sami.core.contrast": ("algorithms.sami.contrast",),
    "rllib_sami.core.pairing": ("algorithms.sami.pairing",),
    "rllib_sami.core.sampling": ("algorithms.sami.sampling",),
    "rllib_sami.core.task_store": ("replay_buffers.episode_store",),
    "rllib_sami.core.update": ("algorithms.sami.update", "algorithms.sac.update"),
    "rllib_sami.env_runner": ("env_runners.array_env_runner",),
    "rllib_sami.export": ("exports.agents",),
    "rllib_sami.learner": (_SAMI, "algorithms.base.learner"),
    "rllib_sami.loading": ("exports.loading",),
    "rllib_sami.offline": ("replay_buffers.offline",),
    "rllib_sami.presets": ("algorithms.sami.presets", _SAC),
    "rllib_sami.replay_buffer": ("replay_buffers.task_episode_replay_buffer",),
    "rllib_sami.rl_module": (_SAMI,),
    "rllib_sami.sappo": ("algorithms.sappo.sappo",),
}
RENAMED = {"SaMIEnvRunner": "ArrayEnvRunner", "TaskStore": "EpisodeStore"}


class _OldModule(ModuleType):
    """Looks up its content in the modules that replace it."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):
            for module in MOVED[self.__name__]:
                found = importlib.import_module(f"rllib_sami.{module}")
                if hasattr(found, RENAMED.get(name, name)):
                    return getattr(found, RENAMED.get(name, name))
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


class _Finder(MetaPathFinder, Loader):
    """Finds modules by their old names, if nothing else finds them."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _OldModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Does nothing, because each name is looked up when it is read."""


def install() -> None:
    """Makes old names importable; calling it again changes nothing."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
