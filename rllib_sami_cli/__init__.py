"""The `rllib` command: train, evaluate, export, report, look at environments, make data."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from rllib_sami_cli.errors import UserError

# Each is in a module of its name, which is imported only when it is used, so that `rllib --help` answers at once.
_COMMANDS = ("train", "evaluate", "export", "report", "envs", "data")


class _LazyGroup(click.Group):
    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> click.Context:
        # The command as typed, for the lines that say how to continue.
        program = info_name if info_name and info_name.startswith("rllib") else "rllib"
        return super().make_context(info_name, args, *rest, obj=[program, *args], **extra)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        return getattr(importlib.import_module(f"rllib_sami_cli.{cmd_name}"), cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AttributeError as error:
            backend = os.environ.get("MUJOCO_GL")
            if not backend or "rllib_sami.envs" in sys.modules:
                raise
            raise UserError(
                f"MUJOCO_GL={backend}: MuJoCo cannot be imported with it ({error}), as where that library is not "
                "installed. Unset it: then the first of GLFW, EGL and OSMesa that works is taken."
            ) from error


@click.command(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rllib-sami")
def main() -> None:
    """Skill-aware reinforcement learning on Ray RLlib.

    \b
    rllib train file tuned_examples/saccm_ant.yaml
    rllib train run --algo SaCCM --env SaMI/Ant-v0
    rllib evaluate CHECKPOINT
    rllib export CHECKPOINT --out DIR
    rllib report RESULTS
    rllib envs
    rllib data make maze --out DIR
    """  # noqa: D301 - click's mark for "do not rewrap", not a backslash
