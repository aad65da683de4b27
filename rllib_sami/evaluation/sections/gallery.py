"""The section of videos."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from typing import Any

import pandas as pd

from rllib_sami.evaluation import contexts
from rllib_sami.evaluation.layout import NOTHING, Section, Video, text
from rllib_sami.evaluation.results import Results
from rllib_sami.evaluation.sections.common import short

Key = tuple[str, str, int, int]  # run, split, task and number of an episode

INLINE_BYTES = 300_000  # a video up to this size is part of the page
INLINE_TOTAL_BYTES = 6_000_000  # as long as all of them together stay below this
_PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}


def gallery(results: Results, out: Path) -> Section:
    """Videos of episodes, failures included.

    Small videos become part of the page; larger ones are copied to ``videos/`` beside it.

    Args:
        results: Their provenance lists the videos.
        out: The report's folder.
    """
    section = Section("videos", "Videos")
    recorded = [video for part in results.parts for video in part.get("videos", [])]
    existing = [video for video in recorded if Path(video["file"]).is_file()]
    if not existing:
        what = "Their files are gone" if recorded else "No episode was recorded"
        section.missing = f"{what}. `rllib evaluate --video` records them."
        return section
    section.text = (
        ["Skills, and ways to goals, side by side; frames have the colours of the skills."]
        if all("mosaic" in video for video in existing)
        else [
            "Per task the best, the median and the worst episode, so failures are included. Each is the very episode "
            "of the tables, played again with the same seed."
        ]
    )
    if lost := len(recorded) - len(existing):
        section.notes = [f"{lost} of {len(recorded)} videos are left out: their files are gone."]
    groups, typical = _groups(results, existing)
    several = results.episodes["environment"].nunique() > 1
    budget = INLINE_TOTAL_BYTES
    # The first ones are of every run and split.
    place = pd.DataFrame(existing).groupby(["run", "split"]).cumcount().sort_values(kind="stable")
    for number, video in enumerate(existing[index] for index in place.index):
        file, poster = Path(video["file"]), Path(video.get("poster") or "")
        size, beside = file.stat().st_size, ""
        if size <= min(INLINE_BYTES, budget):
            budget -= size
        else:
            beside = f"videos/{number:03d}_{file.name}"
            (out / "videos").mkdir(exist_ok=True)
            shutil.copyfile(file, out / beside)
        where = f" on {short(str(video['environment']))}" if several and "environment" in video else ""
        section.videos.append(
            Video(
                title=f"{video['algorithm']}{where}, {_what(video)}",
                caption=_caption(video),
                labels=_labels(video, groups, typical),
                source=beside or data_uri(file, "video/mp4"),
                poster=data_uri(poster, _PICTURES[poster.suffix]) if poster.is_file() else "",
                file=beside,
            )
        )
    return section


def data_uri(file: Path, kind: str) -> str:
    """Returns a file's content as a data URI of the given media type."""
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"


def _what(video: dict[str, Any]) -> str:
    split = video["split"].replace("_", " ")
    return f"{video['mosaic']} {split}" if "mosaic" in video else f"{split} task {video['task_id']}"


def _caption(video: dict[str, Any]) -> str:
    if "mosaic" in video:
        return f"run {video['run']}"
    kind = f"{video['kind']} of the task, " if video.get("kind") else ""
    skill = f", skill {video['skill']}" if video.get("skill") else ""
    return f"{kind}return {text(float(video['return']))}, run {video['run']}, episode {video['episode']}{skill}"


def _labels(video: dict[str, Any], groups: dict[Key, str], typical: set[Key]) -> dict[str, str]:
    succeeded = video.get("success")
    return {
        "algorithm": str(video["algorithm"]),
        "environment": short(str(video.get("environment", NOTHING))),
        "split": str(video["split"]),
        "task": f"{video['split']} {video['task_id']}",
        "skill": str(video.get("skill") or NOTHING),
        "group": groups.get(_key(video), NOTHING),
        "typical": "of its group" if _key(video) in typical else NOTHING,
        "success": NOTHING if succeeded is None else "success" if succeeded else "failure",
    }


def _groups(results: Results, videos: list[dict[str, Any]]) -> tuple[dict[Key, str], set[Key]]:
    """Returns each recorded episode's group of contexts, and the recorded episode nearest to each group's centre."""
    recorded, filmed = {_key(video) for video in videos}, {str(video["run"]) for video in videos}
    groups: dict[Key, str] = {}
    typical: set[Key] = set()
    for run in contexts.runs_with_contexts(results):
        if run not in filmed or (results.episodes["run"] == run).sum() < 3:
            continue
        episodes, _ = contexts.clusters_of(results, run)
        for group, mine in episodes.sort_values("distance", kind="stable").groupby("cluster"):
            keys = [key for row in mine.to_dict("records") if (key := _key(row)) in recorded]
            groups |= dict.fromkeys(keys, f"{run}: {group + 1}")
            typical |= set(keys[:1])
    return groups, typical


def _key(episode: dict[str, Any]) -> Key:
    return (str(episode["run"]), str(episode["split"]), int(episode["task_id"]), int(episode["episode"]))
