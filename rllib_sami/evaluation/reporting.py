"""`report()`: one page, readable offline and on a phone, with all results of an evaluation."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import pandas as pd
from markupsafe import Markup, escape

from rllib_sami.evaluation import style, tables
from rllib_sami.evaluation.layout import VIDEOS_SHOWN, Plot, Section, Table
from rllib_sami.evaluation.names import order
from rllib_sami.evaluation.results import EPISODES_FILE, Results
from rllib_sami.evaluation.sections import contexts, gallery, maps, mazes, scores, skills, subtasks, tracking, training
from rllib_sami.evaluation.sections.common import counted, is_paper, short

STYLES = tuple(style.STYLES)
GENERATOR = '<meta name="generator" content="rllib report">'  # by which a report is known again
_UNFINISHED = f"<!doctype html>{GENERATOR}<p>This report was not finished. Run `rllib report` again."
_OURS = re.compile(r"index\.html|report\.md|figures(/[^/]+\.(svg|png))?|videos(/\d{3,}_[^/]+)?")


def report(results: Results, out: str | Path, title: str | None = None) -> Path:
    """Writes a report: ``index.html``, ``report.md`` and ``figures/`` (PNG and SVG).

    Sections that these results cannot fill are left out and listed at the end.

    Args:
        results: Of ``evaluate()``, ``Results.load()`` or ``paper_results()``.
        out: Folder of the report; made if missing. A former report in it is replaced.
        title: Heading of the page.

    Returns:
        The path of ``index.html``.

    Raises:
        ValueError: There are no episodes, or the folder holds anything but a report, or cannot be written to.
    """
    if results.episodes.empty:
        raise ValueError("results: no episodes in them. Evaluate at least one task.")
    out = Path(out).expanduser()
    try:
        _clear(out)
        (out / "figures").mkdir(parents=True, exist_ok=True)
        (out / "index.html").write_text(_UNFINISHED, "utf-8")  # so that a report that is not finished can be replaced
        agents = order(tables.agents(results.episodes))
        sections = _sections(results, out)
        plots = {plot.name: _save(plot, out / "figures", agents) for section in sections for plot in section.plots}
        words: dict[str, Any] = {
            "title": title or f"Evaluation: {_names(results, 'algorithm')}",
            "lead": _lead(results),
            "facts": _facts(results),
            "sections": sections,
            "swatches": _swatches(agents),
            "videos_shown": VIDEOS_SHOWN,
        }
        (out / "report.md").write_text(_render("report.md.j2", words), "utf-8")
        (out / "index.html").write_text(_render("report.html.j2", {**words, "inlined": plots}), "utf-8")
    except OSError as error:
        raise ValueError(
            f"{out}: the report cannot be written there: {error.strerror}. Give another folder."
        ) from error
    return out / "index.html"


def _clear(out: Path) -> None:
    """Removes a former report from a folder.

    Raises:
        ValueError: The folder holds something that no report wrote.
    """
    files = [file for file in out.rglob("*") if not file.name.startswith(".")] if out.is_dir() else []
    names = sorted(file.relative_to(out).as_posix() for file in files)
    if EPISODES_FILE in names:
        raise ValueError(f"{out}: holds results of `rllib evaluate`, which a report would be mixed with. Give another.")
    page = out / "index.html"
    if names and not (page.is_file() and GENERATOR in page.read_text("utf-8", "replace")[:2000]):
        raise ValueError(f"{out}: holds {names[0]}, but no report. Give an empty folder, or a new one.")
    if foreign := [name for name in names if not _OURS.fullmatch(name)]:
        raise ValueError(
            f"{out}: holds {foreign[0]}, which no report wrote, beside a former report. Move it away, or give another "
            "folder."
        )
    for file in sorted(files, key=lambda file: file == page):  # the page last: by it a report is known again
        if file.is_file():
            file.unlink()


def _sections(results: Results, out: Path) -> list[Section]:
    with_skills, others = skills.split_off(results)
    sections = [training.runs(results)]
    if with_skills is not None:
        sections += [skills.coverage(with_skills), skills.goals(with_skills), skills.features(with_skills)]
        sections += [skills.training(with_skills)]
    if others is not None:
        sections += [
            scores.splits(others),
            scores.profiles(others),
            scores.tasks(others),
            maps.maps(others),
            contexts.embeddings(others),
            contexts.settling(others),
            contexts.skills(others),
        ]
        if others.tracks is not None:
            sections += [tracking.tracking(others), tracking.inference(others)]
        sections += [mazes.walks(others), subtasks.timelines(others)]
    sections.append(gallery.gallery(results, out))
    if others is not None:
        sections += [training.information(others), training.learning_curves(others), maps.skill_rates(others)]
    sections.append(training.provenance(results))
    shown = [section for section in sections if not section.empty or section.key == "provenance"]
    left_out = [(section.title, section.missing) for section in sections if section not in shown and section.missing]
    if left_out:
        shown[-1].tables.append(Table("Left out of this page", pd.DataFrame(left_out, columns=["section", "why"])))
    _name_apart(shown)
    return shown


def _name_apart(sections: Sequence[Section]) -> None:
    """Gives figures whose files would be the same, such as those of "stride 5" and "Stride 5", names of their own."""
    seen: set[str] = set()
    for section in sections:
        for place, plot in enumerate(section.plots):
            name, number = plot.name, 2
            while name.lower() in seen:
                name, number = f"{plot.name}_{number}", number + 1
            seen.add(name.lower())
            section.plots[place] = dataclasses.replace(plot, name=name)


def _swatches(agents: list[str]) -> dict[str, dict[str, Any]]:
    """Returns each agent's colour in both styles, and whether only its pattern identifies it, for tables."""
    looks = {name: style.looks(agents, name) for name in STYLES}
    return {
        agent: {**{name: looks[name][agent][0] for name in STYLES}, "dashed": looks["light"][agent][1] > 0}
        for agent in agents
    }


def _save(plot: Plot, folder: Path, agents: list[str]) -> dict[str, Any]:
    """Writes the light figure as SVG and PNG; returns both styles as data URIs, and the width in inches."""
    found: dict[str, Any] = {}
    for name, look in style.with_agents(agents).items():
        figure = plot.draw(style=look)
        if engine := figure.get_layout_engine():
            engine.execute(figure)
        figure.set_layout_engine("none")  # it has run, once for both files
        with matplotlib.rc_context({"svg.hashsalt": "rllib-sami"}), io.BytesIO() as file:
            figure.savefig(file, format="svg", metadata={"Date": None})
            drawn = file.getvalue()
        if name == "light":
            (folder / f"{plot.name}.svg").write_bytes(drawn)
            figure.savefig(folder / f"{plot.name}.png", dpi=150)
        found["inches"] = figure.get_figwidth()
        found[name] = "data:image/svg+xml;base64," + base64.b64encode(drawn).decode("ascii")
    return found


def _render(name: str, words: dict[str, Any]) -> str:
    folder = resources.files(__package__) / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda file: (folder / file).read_text("utf-8")),
        autoescape=name.startswith("report.html"),
        trim_blocks=False,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["code"] = _code
    environment.globals["generator"] = Markup(GENERATOR)
    assets = {kind: Markup((folder / f"report.{kind}").read_text("utf-8")) for kind in ("css", "js")}
    return environment.get_template(name).render(**words, **assets)


def _code(text: str) -> Markup:
    """Returns escaped text, what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _lead(results: Results) -> str:
    if is_paper(results):
        return (
            "The results that the authors of Skill-aware Mutual Information published with their code: the mean of "
            f"each training seed over a split, on {_names(results, 'environment', short)}."
        )
    agents = results.episodes[["algorithm", "run"]].drop_duplicates()["algorithm"].value_counts()
    who = ", ".join(f"{name} ({counted(agents[name], 'run')})" for name in order(agents.index))
    today = datetime.now(timezone.utc).date().isoformat()
    splits = list(dict.fromkeys(results.episodes["split"]))
    played = f"the split{'s' if len(splits) > 1 else ''} {', '.join(splits)}"
    return f"{who} on {_names(results, 'environment')}: {played}, played with fixed weights. {today}"


def _facts(results: Results) -> list[tuple[str, str]]:
    episodes = results.episodes
    columns = {
        "Agents": ["algorithm", "context", "explore"],
        "Runs": ["run"],
        "Environments": ["environment"],
        "Tasks": ["environment", "split", "task_id"],
    }
    facts = [(name, str(len(episodes[keys].drop_duplicates()))) for name, keys in columns.items()]
    if not is_paper(results):
        facts.append(("Episodes", f"{len(episodes):,}"))
    if all("env_steps_per_second" in part for part in results.parts):
        speeds = [float(part["env_steps_per_second"]) for part in results.parts]
        facts.append(("Steps per second", f"{sum(speeds) / len(speeds):,.0f}"))
    return facts


def _names(results: Results, column: str, form: Callable[[str], str] = str) -> str:
    found = results.episodes[column].unique()
    names = [form(str(name)) for name in (order(found) if column == "algorithm" else found)]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
