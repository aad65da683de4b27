"""What images cost on a CPU: a picture of an environment, the convolutions, an update of CSF.

\b
    python benchmarks/images.py

CPU milliseconds with one thread, in turns: medians, least and greatest of the rounds. Pictures are those of
Skills/QuadrupedPixels-v0 (64 x 64), batches have 256 transitions.
"""  # noqa: D301 - click's mark for "do not rewrap", not a backslash

import click
import numpy as np
import torch
from measure import interleave, repeat, spread, table_of
from rich.console import Console
from skill_updates import SkillAgent

from rllib_sami import CSFConfig, envs
from rllib_sami.algorithms.skill_discovery.networks import IMAGES, SKILL
from rllib_sami.core.images import ImageEncoder, ImageShape, image_shape
from rllib_sami.envs.rendering import OffScreen

BATCH = 256


def channels_first(encoder: ImageEncoder, rows: torch.Tensor) -> torch.Tensor:
    """What ``encoder`` returns, with the usual layout in memory."""
    stack, height, width, channels = encoder.shape
    images = rows.view(-1, stack, height, width, channels).permute(0, 1, 4, 2, 3)
    return encoder.net(images.reshape(-1, stack * channels, height, width).float() / 255.0)


def batch_of(config: CSFConfig, shape: ImageShape, action_dim: int, rng: np.random.Generator) -> dict:
    """A batch of noise for one update."""
    arrays = {
        IMAGES: rng.integers(256, size=(BATCH, shape.stack + 1, shape.frame_size), dtype=np.uint8),
        "rows": rng.uniform(-1, 1, (BATCH, 2, action_dim + 1)).astype(np.float32),
        SKILL: config.prior.sample(rng, BATCH),
        "prior_skills": config.prior.sample(rng, config.num_negatives),
        "terminated": np.zeros(BATCH, np.float32),
        "noise": rng.standard_normal((2, BATCH, action_dim), dtype=np.float32),
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


@click.command(help=__doc__)
@click.option("--rounds", default=5, show_default=True)
def main(rounds: int) -> None:
    env = envs.make("Skills/QuadrupedPixels-v0")
    env.reset(seed=0)
    shape, action_dim = image_shape(env.observation_space), env.action_space.shape[0]
    rng, config = np.random.default_rng(0), CSFConfig().training(skill_dim=4)
    agent = SkillAgent(config, (shape.size, action_dim), shape)
    batch = batch_of(config, shape, action_dim, rng)
    encoder, rows = ImageEncoder(shape, config.conv_filters), batch[IMAGES][:, 1:].flatten(1)
    screens = {plain: OffScreen(env.model, env.eye, shape.width, shape.height, plain=plain) for plain in (True, False)}
    actions = {
        "a picture, plain": repeat(lambda: screens[True].draw(env.model, env.data), 20),
        "a picture with shadows, reflections and smooth edges": repeat(
            lambda: screens[False].draw(env.model, env.data), 20
        ),
        "convolutions and their gradients": repeat(lambda: encoder(rows).sum().backward(), 1),
        "the same, channels first in memory": repeat(lambda: channels_first(encoder, rows).sum().backward(), 1),
        "an update of CSF": repeat(lambda: agent.update(batch), 1),
    }
    times = interleave(actions, rounds)
    cells = [[name, spread(some.cpu, 1e3)] for name, some in times.items()]
    Console(width=120).print(table_of("CPU-ms", ["", "each"], cells))


if __name__ == "__main__":
    main()
