"""How fast sampling and learning are, beside what the hardware could do and beside RLlib's own SAC.

\b
    python benchmarks/speed.py update
    python benchmarks/speed.py sampling --against rllib-sac --out sampling.json

Every command measures both sides in one process, in turns, and shows medians with the smallest and largest round. The
last line is JSON. Torch has one thread throughout (``torch.set_num_threads(1)``); CPU time is of the whole process.
"""  # noqa: D301 - click's mark for "do not rewrap", not a backslash

import logging
import warnings

import click
import torch
from evaluating import evaluation
from messages import messages
from nodes import nodes_command
from sampling import sampling
from saving import checkpoint
from training import train
from updates import buffer, update

warnings.filterwarnings("ignore", category=DeprecationWarning)


@click.group(
    help=__doc__,
    commands=[sampling, update, train, buffer, checkpoint, evaluation, messages, nodes_command],
    context_settings={"max_content_width": 120},
)
def main() -> None:
    torch.set_num_threads(1)
    logging.getLogger("ray.rllib").setLevel(logging.ERROR)


if __name__ == "__main__":
    main()
