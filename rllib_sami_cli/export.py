"""`rllib export`: a checkpoint's agent as weights and settings that are safe to publish and to load."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from rllib_sami_cli.errors import UserError, one_line, stoppable
from rllib_sami_cli.steps import doing, loading, quiet_option


@click.command()
@click.argument("checkpoint", metavar="CHECKPOINT")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Folder to write.")  # fmt: skip
@click.option("--episodes", type=click.IntRange(1), metavar="N", help="Play N episodes of each task of each split "
              "for a table of returns on the model card; of agents with skills N skills and N goals, for a picture.  "
              "[default: none]")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace the exported agent in DIR.")
@quiet_option
@click.pass_obj
@stoppable("nothing was written.")
def export(words: list[str] | None, checkpoint: str, out: Path, episodes: int | None, overwrite: bool) -> None:
    """Write a trained agent as data: weights, settings, a model card.

    CHECKPOINT is the folder of a checkpoint, or of an experiment, of which the newest checkpoint is taken. It is read
    with pickle, which can run code: export only checkpoints that you trust. Anyone can load the exported agent safely.
    """
    loading()
    from rllib_sami_cli import catalog

    catalog.prepare()
    from rllib_sami.checkpoints.files import check_files
    from rllib_sami.core.faults import EnvironmentFaultError
    from rllib_sami.evaluation import evaluate
    from rllib_sami.evaluation.processes import WorkersLostError
    from rllib_sami.exports import checkpoints
    from rllib_sami.exports.agents import ExportedAgent, is_exported, load_exported
    from rllib_sami.exports.composed import evaluate_options
    from rllib_sami.exports.writing import export_agent, progress_of

    if is_exported(out):
        if not overwrite:
            raise UserError(
                f"--out {out}: it has an exported agent. Give another folder, or --overwrite to replace it."
            )
    elif out.exists() and any(out.iterdir()):
        raise UserError(f"--out {out}: there is something else in this folder. Give a new one.")
    doing("Reading the checkpoint")
    try:
        check_files(checkpoints.find(checkpoint))
        loaded = checkpoints.load(checkpoint)
        if isinstance(loaded, ExportedAgent):
            raise ValueError(f"{checkpoint} is an exported agent already. Give the checkpoint that it is from.")
        evaluation = evaluate(loaded.path, episodes=episodes, say=doing) if episodes else None
        export_agent(
            loaded.module(),
            loaded.config,
            out,
            algorithm=loaded.algorithm.__name__,
            progress=progress_of(loaded.path),
            evaluation=evaluation,
            **_skills(evaluation),
        )
    except (ValueError, OSError, EnvironmentFaultError, WorkersLostError) as error:
        raise UserError(f"export: {one_line(error)}") from error
    click.echo(f"Written: {out}")
    written = load_exported(out)
    options = evaluate_options(written.trained_on, written.env_config, is_exported)
    click.echo(f"Next:\n  {(words or ['rllib'])[0]} evaluate {shlex.quote(str(out))}{options}")


def _skills(evaluation: Any) -> dict[str, Any]:
    """Returns what the model card says of an agent's skills, and shows."""
    if evaluation is None or evaluation.paths is None:
        return {}
    from rllib_sami.evaluation.skill_tables import per_run

    rows = per_run(evaluation).to_dict("records")
    if not rows:  # paths alone, as mazes have
        return {}
    [row] = rows
    found: dict[str, Any] = {"skills": {key: None if value != value else value for key, value in row.items()}}
    try:
        from rllib_sami.evaluation.sections.skills import picture
    except ImportError:  # without the extra `report`
        return found
    return found | {"figure": picture(evaluation)}
