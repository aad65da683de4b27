"""One picture per family: an extreme task, if it has one, after some random steps.

python benchmarks/contact_sheet.py contact_sheet.png
"""

import argparse

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rllib_sami import envs

TILE, TITLE, COLUMNS, STEPS = 320, 28, 6, 40


def tile(env_id: str) -> Image.Image:
    """Returns a family's picture under its name."""
    split = "extreme" if "extreme" in envs.ENVIRONMENTS[env_id].splits else "train"
    env = envs.make(env_id, split=split, render_mode="rgb_array", render_task=True)
    env.reset(seed=0, options={"task_id": env.num_tasks - 1})
    env.action_space.seed(0)
    for _ in range(min(STEPS, env.max_steps - 1)):
        _, _, terminated, _, _ = env.step(env.action_space.sample())
        if terminated:
            env.reset(options={"task_id": env.num_tasks - 1})
    picture = Image.fromarray(np.asarray(env.render())).resize((TILE, TILE), Image.Resampling.LANCZOS)
    env.close()
    framed = Image.new("RGB", (TILE, TITLE + TILE), "white")
    framed.paste(picture, (0, TITLE))
    name = env_id.removeprefix("SaMI/").removesuffix("-v0")
    ImageDraw.Draw(framed).text((8, 4), name, font=ImageFont.load_default(18), fill="black")
    return framed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="the PNG to write")
    arguments = parser.parse_args()
    tiles = [tile(env_id) for env_id in envs.ENVIRONMENTS]
    rows = -(-len(tiles) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * TILE, rows * (TITLE + TILE)), "white")
    for index, picture in enumerate(tiles):
        sheet.paste(picture, (index % COLUMNS * TILE, index // COLUMNS * (TITLE + TILE)))
    sheet.save(arguments.out)


if __name__ == "__main__":
    main()
