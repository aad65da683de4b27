"""Videos: the best, median and worst episode of each task, or skills side by side, played again and filmed."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cloudpickle
import gymnasium
import numpy as np
import pandas as pd

from rllib_sami.algorithms.skill_discovery.evaluation import SkillGrid
from rllib_sami.core.faults import closing, trying
from rllib_sami.core.text import one_line
from rllib_sami.env_runners.episodes import ON_INNER_STEP, Episode, EpisodeSpec, Slot
from rllib_sami.env_runners.player import TIMEOUT
from rllib_sami.env_runners.splits import SplitGrid
from rllib_sami.envs import MetaTaskEnv
from rllib_sami.envs.base import constructor_names
from rllib_sami.evaluation.plan import AgentOnSplit, close, open_packed
from rllib_sami.evaluation.processes import advance, run_all
from rllib_sami.evaluation.results import Results, split_order
from rllib_sami.exports import task_transfer
from rllib_sami.exports.composed import is_titled

SECONDS = 10  # of an episode that are filmed at most
_DEFAULT_FPS = 20
_KINDS = ("best", "median", "worst")
_PICTURES = {"render_task": True, "width": 320, "height": 320}  # as small as the page shows them


def record(
    results: Results,
    played: Sequence[tuple[str, AgentOnSplit]],
    folder: Path,
    workers: int,
    title: str | None,
    say: Callable[[str], None],
) -> tuple[list[dict[str, Any]], list[str]]:
    """Films the best, median and worst episode of each task of each run; they are the very episodes of the results.

    Args:
        results: What was played.
        played: Run and chunk of episodes, in the order in which they were played.
        folder: Where to write ``<run>/<split>_task<id>_<kind>.mp4`` and a JPEG beside each; made if missing.
        workers: Number of further processes that play.
        title: Title of the progress bar, which counts pictures; None for no bar.
        say: Called with a line before what takes long.

    Returns:
        A description of each video (``file``, ``poster``, ``kind`` and what identifies the episode), and a sentence
        for each one that had to be left out.
    """
    left_out = []
    say("Drawing a first picture")
    renders: dict[str, dict[str, Any]] = {}
    for environment, grid in {chunk.grid.name: chunk.grid for _, chunk in played}.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            renders[environment] = _try_to_film(grid)
        except OSError as error:
            return [], [f"No videos: {folder} cannot be written to: {error.strerror}."]
        except ImportError:
            return [], ["No videos: imageio-ffmpeg is missing. Install it: pip install 'rllib-sami[report]'"]
        except Exception as error:  # whatever a simulator raises where there is nothing to draw with
            left_out.append(f"No videos of {environment}: {one_line(error)}")

    chosen = _choose(results.episodes[results.episodes["environment"].isin(renders)])
    mosaics = _film_mosaics(played, folder, workers, title, say, renders)
    calls, sizes, filmed = [], [], []
    for run, chunk in played:
        if isinstance(chunk.grid, SkillGrid):
            continue
        keys = [_key(run, spec) for spec in chunk.grid.episodes]
        rows = {index: chosen[key] for index, key in enumerate(keys) if key in chosen}
        if rows:
            files = {index: folder / _file_name(run, row) for index, row in rows.items()}
            calls.append((*chunk.pack(), files, renders[chunk.grid.name]))
            sizes.append(sum(row["length"] + 1 for row in rows.values()))
            filmed.append((rows, files))
    if not calls:
        return mosaics, left_out
    say(f"Filming {sum(len(rows) for rows, _ in filmed)} episodes into {folder}")
    try:
        outcomes = run_all(_film, calls, sizes, workers, title)
    finally:
        close()
    videos = []
    for (rows, files), episodes in zip(filmed, outcomes, strict=True):
        for index, row in rows.items():
            file, total = files[index], episodes[index].total
            if total == row["return"]:
                videos.append(row | {"file": str(file.absolute()), "poster": str(_poster(file).absolute())})
                continue
            file.unlink(missing_ok=True)
            _poster(file).unlink(missing_ok=True)
            left_out.append(
                f"No video of {row['run']}, {row['split']} task {row['task_id']}, episode {row['episode']}: played "
                f"again its return is {total:g} instead of {row['return']:g}."
            )
    videos.sort(
        key=lambda video: (video["run"], split_order(video["split"]), video["task_id"], _KINDS.index(video["kind"]))
    )
    return [*mosaics, *videos], left_out


def _film_mosaics(
    played: Sequence[tuple[str, AgentOnSplit]],
    folder: Path,
    workers: int,
    title: str | None,
    say: Callable[[str], None],
    renders: Mapping[str, Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Films skills, and ways to goals, of each run with skills: those of the first chunk, all in one picture."""
    calls, sizes, videos = [], [], {}
    for run, chunk in played:
        split = chunk.grid.split
        if not isinstance(chunk.grid, SkillGrid) or chunk.grid.name not in renders or (run, split) in videos:
            continue
        file = folder / re.sub(r"[^\w.=-]+", "_", run) / f"{split}.mp4"
        packed, specs = chunk.pack()
        calls.append((packed, specs, file, renders[chunk.grid.name]))
        sizes.append(chunk.grid.max_episode_steps or 0)
        videos[run, split] = {
            **{"algorithm": chunk.algorithm, "run": run, "environment": chunk.grid.name, "split": split},
            **{"task_id": -1, "episode": 0, "mosaic": len(specs)},
            **{"file": str(file.absolute()), "poster": str(_poster(file).absolute())},
        }
    if calls:
        say(f"Filming {len(calls)} mosaics into {folder}")
        try:
            run_all(_film_mosaic, calls, sizes, workers, title)
        finally:
            close()
    return [*videos.values()]


def _try_to_film(grid: SplitGrid) -> dict[str, Any]:
    """Returns the ``env_config`` with which an environment draws pictures, after having drawn one."""
    import imageio_ffmpeg  # noqa: F401 - it is needed later, and may be missing

    render: dict[str, Any] = {"render_mode": "rgb_array"}
    with closing(grid.make_env(), grid.name) as env:
        body = env.unwrapped
        if isinstance(body, MetaTaskEnv) and (body is env or is_titled(grid.name, task_transfer.MAKERS)):
            known = constructor_names(type(body))
            render |= {key: value for key, value in _PICTURES.items() if key in known}
    timeout_s = grid.config.evaluation_sample_timeout_s
    with closing(grid.make_env(**render), grid.name) as env, trying(grid.name, "render", timeout_s, TIMEOUT):
        env.reset(seed=0)
        image: Any = env.render()
    if not isinstance(image, np.ndarray) or image.ndim != 3 or image.shape[2] != 3:
        raise gymnasium.error.Error('its render() gives no picture with render_mode="rgb_array" in its env_config.')
    return render


def _choose(episodes: pd.DataFrame) -> dict[tuple, dict[str, Any]]:
    """Returns the rows of the episodes to film, with their ``kind``, by the key of :func:`_key`."""
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


def _key(run: str, spec: EpisodeSpec) -> tuple:
    return run, spec.split, -1 if spec.seed is None else spec.seed, spec.episode


def _file_name(run: str, row: Mapping[str, Any]) -> Path:
    return Path(re.sub(r"[^\w.=-]+", "_", run), f"{row['split']}_task{row['task_id']:02d}_{row['kind']}.mp4")


def _poster(file: Path) -> Path:
    return file.with_suffix(".jpg")


def _film(
    packed: bytes, specs: Sequence[EpisodeSpec], files: Mapping[int, Path], render: Mapping[str, Any]
) -> list[Episode]:
    """Plays a chunk again and films some of its episodes.

    All of them are played, since the actions of one episode may depend on the others.
    """
    on_split: AgentOnSplit = cloudpickle.loads(packed)
    agent, _ = open_packed(packed)
    player = on_split.grid.player(**render)
    films: dict[int, Film] = {}
    steps: dict[int, int] = {}

    def take_picture(index: int, slot: Slot) -> None:
        has_inner_steps = slot.env.has_wrapper_attr(ON_INNER_STEP)
        if slot.length == 0 and has_inner_steps:
            slot.env.set_wrapper_attr(ON_INNER_STEP, None)
        if index in files:
            if slot.length == 0:
                films[index] = stack.enter_context(contextlib.closing(Film(files[index], slot.env)))
                if has_inner_steps:
                    slot.env.set_wrapper_attr(ON_INNER_STEP, films[index].take)
            if slot.length == 0 or not has_inner_steps:
                films[index].take()
            advance(slot.inner_steps + 1 - steps.get(index, 0))
            steps[index] = slot.inner_steps + 1

    with contextlib.closing(player), contextlib.ExitStack() as stack:
        return player.play(agent, specs, take_picture)


def _film_mosaic(packed: bytes, specs: Sequence[EpisodeSpec], file: Path, render: Mapping[str, Any]) -> None:
    """Plays a chunk again and films all of its episodes side by side, each framed in the colour of its skill."""
    on_split: AgentOnSplit = cloudpickle.loads(packed)
    agent, _ = open_packed(packed)
    player = on_split.grid.player(**render)
    skills = [spec.skill for spec in specs if spec.skill is not None]
    frames: Sequence[Any] = [(0.5, 0.5, 0.5, 1.0)] * len(specs)
    if len(skills) == len(specs):
        from rllib_sami.evaluation.skill_figures import colours

        frames = colours(np.stack(skills))
    mosaic: list[Mosaic] = []

    def take_picture(index: int, slot: Slot) -> None:
        if not mosaic:
            mosaic.append(stack.enter_context(contextlib.closing(Mosaic(file, slot.env, frames))))
        mosaic[0].take(index, slot)

    with contextlib.closing(player), contextlib.ExitStack() as stack:
        player.play(agent, specs, take_picture)


class Mosaic:
    """A film of several episodes in lockstep.

    Args:
        file: An MP4 file.
        env: One of the environments, for the frame rate.
        frames: The colour around each episode.
    """

    def __init__(self, file: Path, env: gymnasium.Env, frames: Sequence[Any]):
        self._film, self._frames = Film(file, env), [np.uint8(255 * np.asarray(frame[:3])) for frame in frames]
        self._images: dict[int, np.ndarray] = {}
        self._step = 0

    def take(self, index: int, slot: Slot) -> None:
        """Adds the picture of an episode; one that is over keeps its last one."""
        if slot.length > self._step:
            self._flush()
            self._step = slot.length
            advance(1)
        if self._film.is_full:
            return
        image: Any = slot.env.render()
        image = image[::2, ::2].copy()
        image[:3], image[-3:], image[:, :3], image[:, -3:] = (self._frames[index],) * 4
        self._images[index] = image

    def _flush(self) -> None:
        """Adds the picture of a step of all episodes."""
        columns = int(np.ceil(np.sqrt(len(self._frames))))
        blank = np.zeros_like(next(iter(self._images.values())))
        tiles = [self._images.get(index, blank) for index in range(columns * -(-len(self._frames) // columns))]
        self._film.add(np.concatenate([np.concatenate(tiles[at : at + columns], axis=1)
                                       for at in range(0, len(tiles), columns)]))  # fmt: skip

    def close(self) -> None:
        """Finishes the files."""
        if self._images:
            self._flush()
        self._film.close()


class Film:
    """A video in the making, and its poster; :meth:`close` finishes both.

    Args:
        file: An MP4 file.
        env: What is filmed; it draws pictures ``[height, width, 3]`` uint8.
    """

    def __init__(self, file: Path, env: gymnasium.Env):
        self._file, self._env = file, env
        self._fps = int(env.metadata.get("render_fps") or _DEFAULT_FPS)
        self._count, self._image = 0, np.zeros((0, 0, 3), np.uint8)
        self._writer: Any = None

    @property
    def is_full(self) -> bool:
        """Whether the film is long enough."""
        return self._count >= SECONDS * self._fps

    def take(self) -> None:
        """Adds a picture of the environment, unless the film is long enough."""
        if not self.is_full:
            self.add(self._env.render())

    def add(self, image: Any) -> None:
        """Adds a picture, unless the film is long enough."""
        if self.is_full:
            return
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
