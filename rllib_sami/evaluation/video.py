"""Videos: the best, median and worst episode of each task, played again from their seeds and filmed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pandas as pd

from rllib_sami.core.faults import closing
from rllib_sami.env_runners.episodes import Episode, Job, Slot
from rllib_sami.envs import MetaTaskEnv
from rllib_sami.envs.base import constructor_names
from rllib_sami.evaluation.processes import advance, run_all
from rllib_sami.evaluation.results import Results, split_order
from rllib_sami.evaluation.stages import Stage, close, opened, pack

SECONDS = 10  # of an episode that are filmed at most
_USUAL_FPS = 20
_PICTURES = {"render_task": True, "width": 320, "height": 320}  # as small as the page shows them


def record(
    results: Results,
    played: Sequence[tuple[str, Stage, list[Job]]],
    folder: Path,
    workers: int,
    title: str | None,
    say: Callable[[str], None],
) -> tuple[list[dict[str, Any]], list[str]]:
    """Films the best, median and worst episode of each task of each run; they are the very episodes of the results.

    Args:
        results: What was played.
        played: Run, stage and jobs of each chunk.
        folder: Where to write ``<run>/<split>_task<id>_<kind>.mp4`` and a JPEG beside each, made if missing.
        workers: Further processes that play.
        title: Of the progress bar, which counts pictures; None for none.
        say: Gets a line before what takes long.

    Returns:
        What there is to know of each video (``file``, ``poster``, ``kind`` and what identifies the episode), and a
        sentence for all that had to be left out.
    """
    left_out = []
    say("Drawing a first picture")
    renders: dict[str, dict[str, Any]] = {}
    for environment, stage in {stage.name: stage for _, stage, _ in played}.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            renders[environment] = _try_to_film(stage)
        except OSError as error:
            return [], [f"No videos: {folder} cannot be written to: {error.strerror}."]
        except ImportError:
            return [], ["No videos: imageio-ffmpeg is missing. Install it: pip install 'rllib-sami[report]'"]
        except Exception as error:  # whatever a simulator raises where there is nothing to draw with
            left_out.append(f"No videos of {environment}: {' '.join(str(error).split())}")

    wanted = _choose(results.episodes[results.episodes["environment"].isin(renders)])
    calls, sizes, rows = [], [], []
    for run, stage, jobs in played:
        mine = [(at, wanted[key]) for at, job in enumerate(jobs) if (key := _key(run, job)) in wanted]
        if mine:
            files = {at: folder / _file_name(run, row) for at, row in mine}
            calls.append((pack(stage), jobs, files, renders[stage.name]))
            sizes.append(sum(row["length"] + 1 for _, row in mine))
            rows.append(mine)
    say(f"Filming {sum(map(len, rows))} episodes into {folder}")
    try:
        outcomes = run_all(_film, calls, sizes, workers, title)
    finally:
        close()
    videos = []
    for (_, _, files, _), mine, episodes in zip(calls, rows, outcomes, strict=True):
        for at, row in mine:
            if episodes[at].total == row["return"]:
                videos.append(row | {"file": str(files[at].absolute()), "poster": str(_poster(files[at]).absolute())})
            else:
                for file in (files[at], _poster(files[at])):
                    file.unlink(missing_ok=True)
                left_out.append(
                    f"No video of {row['run']}, {row['split']} task {row['task_id']}, episode {row['episode']}: played "
                    f"again its return is {episodes[at].total:g} instead of {row['return']:g}."
                )
    order = {"best": 0, "median": 1, "worst": 2}
    videos.sort(key=lambda video: (video["run"], split_order(video["split"]), video["task_id"], order[video["kind"]]))
    return videos, left_out


def _try_to_film(stage: Stage) -> dict[str, Any]:
    """Returns the arguments with which a stage's environment draws pictures, after having drawn one."""
    import imageio_ffmpeg  # noqa: F401 - it is needed later, and may be missing

    render: dict[str, Any] = {"render_mode": "rgb_array"}
    with closing(stage.make_env(0), stage.name) as env:
        if isinstance(env, MetaTaskEnv):
            known = constructor_names(type(env))
            render |= {key: value for key, value in _PICTURES.items() if key in known}
    with closing(stage.make_env(0, **render), stage.name) as env, stage.trying("render"):
        env.reset(seed=0)
        image: Any = env.render()
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3:
        raise gymnasium.error.Error('its render() gives no picture with render_mode="rgb_array" in its env_config.')
    return render


def _choose(episodes: pd.DataFrame) -> dict[tuple, dict[str, Any]]:
    """Returns the rows of the episodes to film, with their ``kind``, by what identifies them."""
    chosen: dict[tuple, dict[str, Any]] = {}
    columns = ["algorithm", "run", "seed", "environment", "split", "task_id", "episode", "episode_seed", "return",
               "length", "success", "skill"]  # fmt: skip
    for _, mine in episodes.groupby(["run", "split", "task_id"], sort=False):
        ranked = mine.sort_values("return", kind="stable")[columns].to_dict("records")
        for kind, at in (("best", -1), ("worst", 0), ("median", len(ranked) // 2)):
            row = {key: None if pd.isna(value) else value for key, value in ranked[at].items()}
            key = (row["run"], row["split"], row["episode_seed"], row["episode"])
            chosen.setdefault(key, {**row, "kind": kind})
    return chosen


def _key(run: str, job: Job) -> tuple:
    return run, job.split, -1 if job.seed is None else job.seed, job.episode


def _file_name(run: str, row: Mapping[str, Any]) -> Path:
    return Path(re.sub(r"[^\w.=-]+", "_", run), f"{row['split']}_task{row['task_id']:02d}_{row['kind']}.mp4")


def _poster(file: Path) -> Path:
    return file.with_suffix(".jpg")


def _film(packed: bytes, jobs: Sequence[Job], files: Mapping[int, Path], render: Mapping[str, Any]) -> list[Episode]:
    """Plays a chunk again, all of it since actions may depend on who else plays, and films some of its episodes."""
    import cloudpickle

    stage: Stage = cloudpickle.loads(packed)
    agent, _ = opened(packed)
    player = stage.player(**render)
    with contextlib.ExitStack() as films:
        open_films: dict[int, Film] = {}

        def watch(place: int, slot: Slot) -> None:
            if place in files:
                if slot.length == 0:
                    open_films[place] = films.enter_context(filming(files[place], slot.env))
                open_films[place].take()
                advance(1)

        try:
            return player.play(agent, jobs, watch)
        finally:
            player.close()


class Film:
    """A video in the making, and its poster.

    Args:
        file: An MP4 file.
        env: What is filmed; it draws pictures ``[height, width, 3]`` uint8.
    """

    def __init__(self, file: Path, env: gymnasium.Env):
        self._file, self._env = file, env
        self._fps = int(env.metadata.get("render_fps") or _USUAL_FPS)
        self._count, self._image = 0, np.zeros((0, 0, 3), np.uint8)
        self._writer: Any = None

    def take(self) -> None:
        """Adds a picture, unless the film is long enough."""
        if self._count >= SECONDS * self._fps:
            return
        image: Any = self._env.render()
        if self._writer is None:
            import imageio_ffmpeg

            self._file.parent.mkdir(parents=True, exist_ok=True)
            # Small enough for a page, and shown from its first bytes on.
            self._writer = imageio_ffmpeg.write_frames(
                str(self._file), image.shape[1::-1], fps=self._fps, codec="libx264", quality=None, macro_block_size=2,
                ffmpeg_log_level="error", output_params=["-crf", "28", "-movflags", "+faststart", "-threads", "1"],
            )  # fmt: skip
            self._writer.send(None)
        self._writer.send(np.ascontiguousarray(image))
        self._image = image.copy()  # the last one is the poster; an environment may draw into it again
        self._count += 1

    def close(self) -> None:
        """Finishes the files."""
        if self._writer is not None:
            from PIL import Image

            self._writer.close()
            Image.fromarray(self._image).save(_poster(self._file), quality=80)


@contextlib.contextmanager
def filming(file: Path, env: gymnasium.Env) -> Iterator[Film]:
    """Returns a film that is finished at the end of the context."""
    film = Film(file, env)
    try:
        yield film
    finally:
        film.close()
