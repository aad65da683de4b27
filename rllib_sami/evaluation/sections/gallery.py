"""The section of videos."""

from __future__ import annotations

import base64
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from rllib_sami.evaluation import contexts
from rllib_sami.evaluation.layout import NOTHING, Section, Video, text
from rllib_sami.evaluation.results import Results
from rllib_sami.evaluation.sections.common import parts, short

Key = tuple[str, str, int, int]  # run, split, task and number of an episode

INLINE_BYTES = 300_000  # a video up to this size is part of the page
INLINE_TOTAL_BYTES = 6_000_000  # as long as all of them together stay below this


def gallery(results: Results, out: Path) -> Section:
    """Videos of episodes, failures included.

    Small videos become part of the page; larger ones are copied to ``videos/`` beside it.

    Args:
        results: Their provenance lists the videos.
        out: The report's folder.
    """
    section = Section("videos", "Videos")
    recorded = [video for part in parts(results) for video in part.get("videos", [])]
    there = [video for video in recorded if Path(video["file"]).is_file()]
    if not there:
        what = "Their files are gone" if recorded else "No episode was recorded"
        section.missing = f"{what}. `rllib evaluate --video` would give them."
        return section
    section.text = [
        "Per task the best, the median and the worst episode, so failures are here too. Each is the very episode of "
        "the tables, played again with the same seed."
    ]
    if len(there) < len(recorded):
        section.notes = [f"{len(recorded) - len(there)} of {len(recorded)} videos are left out: their files are gone."]
    groups, typical = _groups(results, there)
    several = results.episodes["environment"].nunique() > 1
    there = _spread(there)
    budget = INLINE_TOTAL_BYTES
    for number, video in enumerate(there):
        file = Path(video["file"])
        size = file.stat().st_size
        inline = size <= min(INLINE_BYTES, budget)
        budget -= size if inline else 0
        beside = "" if inline else f"videos/{number:03d}_{file.name}"
        if beside:
            (out / "videos").mkdir(exist_ok=True)
            shutil.copyfile(file, out / beside)
        poster = Path(video["poster"]) if video.get("poster") else None
        section.videos.append(
            Video(
                title=_title(video, several),
                caption=_caption(video),
                labels=_labels(video, groups, typical),
                source=data_uri(file, "video/mp4") if inline else beside,
                poster=data_uri(poster, _PICTURES[poster.suffix]) if poster and poster.is_file() else "",
                file=beside,
            )
        )
    return section


_PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}


def data_uri(file: Path, kind: str) -> str:
    """Returns a file's content as a data URI of the given media type."""
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"


def _spread(videos: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns videos in an order whose beginning has something of every run and split."""
    counts: Counter[tuple[str, str]] = Counter()
    places = []
    for video in videos:
        group = (str(video["run"]), str(video["split"]))
        places.append(counts[group])
        counts[group] += 1
    return [video for _, video in sorted(zip(places, videos, strict=True), key=lambda pair: pair[0])]


def _title(video: dict[str, Any], several: bool) -> str:
    where = f" on {short(str(video['environment']))}" if several and "environment" in video else ""
    return f"{video['algorithm']}{where}, {video['split'].replace('_', ' ')} task {video['task_id']}"


def _caption(video: dict[str, Any]) -> str:
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


def _groups(results: Results, there: list[dict[str, Any]]) -> tuple[dict[Key, str], set[Key]]:
    """Returns each recorded episode's group of contexts, and the recorded episode nearest to each group's centre."""
    recorded = {_key(video) for video in there}
    groups: dict[Key, str] = {}
    typical: set[Key] = set()
    filmed = {str(video["run"]) for video in there}
    for run in contexts.runs_with_contexts(results):
        if run not in filmed or (results.episodes["run"] == run).sum() < 3:
            continue
        episodes, _ = contexts.clusters_of(results, run)
        nearest_first = episodes.sort_values("distance", kind="stable").to_dict("records")
        for group in sorted(episodes["cluster"].unique()):
            mine = [_key(row) for row in nearest_first if row["cluster"] == group and _key(row) in recorded]
            groups |= dict.fromkeys(mine, f"{run}: {group + 1}")
            typical |= set(mine[:1])
    return groups, typical


def _key(episode: dict[str, Any]) -> Key:
    return (str(episode["run"]), str(episode["split"]), int(episode["task_id"]), int(episode["episode"]))
