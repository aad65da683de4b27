"""`rllib export`: a checkpoint's agent as weights and settings that are safe to publish and to load."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from rllib_sami.cli.errors import UserError, one_line


@click.command()
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Folder to write.")  # fmt: skip
@click.pass_obj
def export(words: list[str] | None, checkpoint: str, out: Path) -> None:
    """Write a trained agent as data: weights, settings, a model card.

    CHECKPOINT is a checkpoint's folder; of an experiment's folder the newest checkpoint is taken. It is read with
    pickle, which can run code: export only checkpoints that you trust. What is written can be loaded by anyone.
    """
    from rllib_sami.cli import catalog

    catalog.prepare()
    from rllib_sami.checkpoint_files import check_files, manifest_of
    from rllib_sami.evaluation import checkpoints
    from rllib_sami.export import export_agent, is_exported

    if out.exists() and any(out.iterdir()) and not is_exported(out):
        raise UserError(f"--out {out}: there is something else in this folder. Give a new one.")
    try:
        check_files(checkpoints.find(checkpoint))
        loaded = checkpoints.load(checkpoint)
        export_agent(
            loaded.module(),
            loaded.config,
            out,
            algorithm=loaded.algorithm.__name__,
            progress=_progress(manifest_of(loaded.path) or {}),
            command=_command_of(loaded.path),
        )
    except (ValueError, OSError) as error:
        raise UserError(f"export: {one_line(error)}") from error
    click.echo(f"Written: {out}")
    click.echo(f"Next:\n  {(words or ['rllib'])[0]} evaluate {shlex.quote(str(out))}")


def _progress(manifest: dict[str, Any]) -> dict[str, Any]:
    names = ("training_iteration", "num_env_steps_sampled_lifetime", "episode_return_mean")
    return {name: manifest[name] for name in names if name in manifest}


def _command_of(checkpoint: Path) -> str | None:
    """The command that trained it, from the record in the run's folder."""
    import yaml

    from rllib_sami.cli.folders import RECORD

    try:
        record = yaml.safe_load((checkpoint.parent.parent / RECORD).read_text(encoding="utf-8"))
        return str(record["command"])
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return None
