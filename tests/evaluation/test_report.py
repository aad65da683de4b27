"""The report: made from whatever there is, self-contained, and honest about what there is not."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")

from rllib_sami.evaluation import Results, report
from rllib_sami.evaluation.layout import Plot, Section, Table, text
from rllib_sami.evaluation.names import order
from rllib_sami.evaluation.paper import paper_results
from rllib_sami.evaluation.reporting import GENERATOR, _name_apart, _save, _sections
from rllib_sami.evaluation.sections import maps, scores, training
from rllib_sami.evaluation.style import STYLES
from rllib_sami.evaluation.task_words import factor_values
from rllib_sami_cli import main

from .synthetic import cheetah, panda

# Those of results without curves of training, and not of a Panda.
SECTIONS = ["runs", "splits", "profiles", "tasks", "maps", "contexts", "settling", "skills", "videos", "provenance"]


class Page(HTMLParser):
    """What a page is made of: sections with their text, figures and tables, and every address it names."""

    def __init__(self, html):
        super().__init__()
        self.text, self.figures, self.addresses, self.section = {}, {}, [], None
        self.open, self.tables, self.videos, self.swatches, self.colour = [], [], [], {}, None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag in ("div", "details"):
            self.open.append((tag, attrs))
        if tag == "table":
            self.tables.append(self.open[-1][1])
        if tag == "video":
            self.videos.append((attrs, [tag for tag, _ in self.open]))
        if "swatch" in attrs.get("class", ""):
            self.colour = (attrs["class"], attrs["style"])
        if tag == "section":
            self.section = attrs["id"]
            self.text[self.section], self.figures[self.section] = "", []
        if tag == "figure" and "plot" in attrs.get("class", ""):
            self.figures[self.section].append([])
        if tag == "img" and self.section:
            self.figures[self.section][-1].append(attrs["src"])
        self.addresses += [attrs[name] for name in ("src", "href", "poster") if name in attrs]

    def handle_endtag(self, tag):
        if self.open and tag == self.open[-1][0]:
            self.open.pop()

    def handle_data(self, data):
        if self.colour:
            self.swatches.setdefault(data, set()).add(self.colour)
            self.colour = None
        if self.section:
            self.text[self.section] += " ".join(data.split()) + " "


def _page(folder):
    return Page((folder / "index.html").read_text("utf-8"))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report with videos: one that is part of the page, one too large for that, one whose file is gone."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "small.mp4").write_bytes(b"small")
    (folder / "large.mp4").write_bytes(bytes(400_000))
    results = cheetah()
    common = {"run": "SaCCM seed 0", "algorithm": "SaCCM", "split": "train", "task_id": 0, "success": None}
    results.provenance["videos"] = [
        {**common, "episode": 0, "kind": "best", "return": 9.0, "skill": "flip", "file": str(folder / "small.mp4")},
        {**common, "episode": 1, "kind": "worst", "return": 1.0, "skill": "<run>", "file": str(folder / "large.mp4")},
        {**common, "episode": 2, "kind": "median", "return": 5.0, "skill": "flip", "file": str(folder / "gone.mp4")},
    ]
    assert report(results, folder / "out", title="One & two") == folder / "out" / "index.html"
    return folder / "out"


@pytest.fixture(scope="module")
def of_panda(tmp_path_factory):
    """A report on a Panda and its sections by their key."""
    results, folder = panda(), tmp_path_factory.mktemp("panda")
    report(results, folder)
    return folder, {section.key: section for section in _sections(results, folder)}


def _assert_drawn_again_the_same(section, agents, former, folder):
    """All plots of a section, drawn once more into a folder, give the files that are there of them."""
    assert section.plots
    for plot in section.plots:
        _save(plot, folder, agents)
        for kind in ("svg", "png"):
            name = f"{plot.name}.{kind}"
            assert (folder / name).read_bytes() == (former / name).read_bytes(), name


def test_every_section_is_there(written):
    page = _page(written)
    assert list(page.text) == SECTIONS
    for name in ("splits", "profiles", "maps", "contexts", "settling"):
        assert page.figures[name], name
    markdown = (written / "report.md").read_text("utf-8")
    assert markdown.startswith("# One & two\n")
    assert markdown.count("\n## ") == len(SECTIONS)


def test_figures_are_inlined_in_both_styles_and_lie_beside_the_page(written):
    page = _page(written)
    figures = [figure for section in page.figures.values() for figure in section]
    for light, dark in figures:
        assert light.startswith("data:image/svg+xml;base64,")
        assert dark.startswith("data:image/svg+xml;base64,")
        assert light != dark
    named = set(re.findall(r"figures/\w+\.png", (written / "report.md").read_text("utf-8")))
    assert len(named) == len(figures)
    for name in named:
        assert (written / name).stat().st_size > 1000
        assert (written / name).with_suffix(".svg").is_file()


def test_page_needs_nothing_from_elsewhere(written):
    for address in _page(written).addresses:
        if not address.startswith(("data:", "#")):
            assert (written / address).is_file(), address


def test_what_is_missing_is_named_and_not_drawn(written, of_panda):
    left_out = _page(written).text["provenance"].partition("Left out of this page")[2]
    assert "Learning curves There is no progress.csv" in left_out
    assert "Mutual information There is no progress.csv" in left_out
    assert "Panda" not in left_out  # of no use here
    folder, sections = of_panda
    page = _page(folder)
    assert list(page.text) == list(sections) == ["runs", "splits", "profiles", "tasks", "maps", "panda", "provenance"]
    reasons = " ".join(why for _, why in sections["provenance"].tables[-1].rows)
    assert reasons.count("The results hold no contexts.") == 3
    assert "rllib evaluate --video` records them" in reasons
    assert [plot.name for plot in sections["panda"].plots] == ["skill_pandapush", "reference_skill_pandapush"]
    assert sections["panda"].plots[0].draw().axes
    assert [len(page.figures[name]) for name in sections] == [len(section.plots) for section in sections.values()]
    assert [table.caption.partition(":")[0] for table in sections["splits"].tables[::3]] == ["Success", "Return"]


@pytest.mark.parametrize("section", ["maps", "panda"])
def test_all_plots_of_a_section_are_drawn_again_as_the_same_files(of_panda, section, tmp_path):
    folder, sections = of_panda
    agents = order(panda().episodes["algorithm"])
    _assert_drawn_again_the_same(sections[section], agents, folder / "figures", tmp_path)


def test_videos(written):
    html = (written / "index.html").read_text("utf-8")
    assert "data:video/mp4;base64,c21hbGw=" in html
    assert (written / "videos" / "001_large.mp4").stat().st_size == 400_000
    assert "1 of 3 videos are left out" in html
    assert re.search(r"^- .*large.*\n\n", (written / "report.md").read_text("utf-8"), re.MULTILINE)
    assert 'data-skill="&lt;run&gt;"' in html
    assert "<run>" not in html
    assert '<select name="skill">' in html
    assert '<select name="split">' not in html  # all are of one
    assert html.count('data-typical="of its group"') == 1  # of the two that are there, and of one group
    assert html.count('data-group="SaCCM seed 0: ') == 2


def test_agents_have_one_colour_in_every_table_and_every_table_scrolls(written):
    page = _page(written)
    assert len(page.tables) > 8
    assert all(box["class"] == "scroll" and box["tabindex"] == "0" for box in page.tables)
    assert page.swatches == {
        agent: {
            ("swatch", "--colour: light-dark(" + ", ".join(STYLES[look].algorithms[agent] for look in STYLES) + ")")
        }
        for agent in ("SaCCM", "TESAC")
    }
    css = (written / "index.html").read_text("utf-8").partition("</style>")[0]
    assert re.search(r"\.scroll \{[^}]*overflow: auto", css)


def test_contexts_are_coloured_by_split_and_factors(written):
    markdown = (written / "report.md").read_text("utf-8")
    assert "coloured by split, joint, mass scale (× the model's own value), skill, return." in markdown
    circle = pd.DataFrame({"task_direction_x": [1.0, 0.0, -1.0], "task_direction_y": [0.0, 1.0, 0.0]})
    (angle,) = factor_values(circle, "SaMI/PointGoal-v0")
    assert (angle.name, list(angle), angle.attrs["cyclic"]) == ("direction (degrees)", [0, 90, 180], True)


def test_groups_of_contexts_name_tasks_and_a_typical_episode(written):
    skills = _page(written).text["skills"]
    assert re.search(r"train 0 \(\d\)", skills)
    assert re.search(r"(train|moderate|extreme), task \d, episode \d", skills)


def test_numbers_stand_beside_the_papers(written):
    tasks = _page(written).text["tasks"]
    assert "4,583 ± 321" in tasks  # CrippledHalfCheetah, training, SaCCM
    assert "orientation and not a target" in tasks
    assert "joint 3, mass_scale 1.15" in tasks


def test_learning_curves_and_the_bound_of_trained_runs(tmp_path):
    """Of three runs one has the file beside its checkpoint."""
    steps = range(1000, 5000, 1000)
    pd.DataFrame(
        {
            "num_env_steps_sampled_lifetime": steps,
            "time_total_s": [60.0 * step / 1000 for step in steps],
            "env_runners/episode_return_mean": [float("nan"), 1.0, 2.0, 3.0],
            "learners/default_policy/sance_bound": [0.0, 0.5, 1.0, 1.5],
            "learners/default_policy/log_k": 2.77,
            "evaluation/extreme/return_mean": [0.0, 1.0, 1.0, 1.0],
        }
    ).to_csv(tmp_path / "progress.csv", index=False)
    results = cheetah(with_contexts=False)
    results.provenance["checkpoints"] = [
        {"run": "SaCCM seed 0", "algorithm": "SaCCM", "path": str(tmp_path / "checkpoint_000000")},
        {"run": "SaCCM seed 1", "algorithm": "SaCCM", "path": "/gone/checkpoint_000000"},
    ]
    learning = training.learning_curves(results)
    names = ["return_mean_env_steps", "return_mean_seconds", "return_mean_extreme_env_steps"]
    assert [plot.name for plot in learning.plots] == [f"learning_crippledhalfcheetah_{name}" for name in names]
    assert "SaCCM seed 1" in learning.notes[0]
    assert "SaCCM seed 0" not in learning.notes[0]
    information = training.information(results)
    assert [plot.name for plot in information.plots] == ["bound_in_training", "bound_versus_keys"]
    assert not information.missing
    for plot in (*learning.plots, *information.plots):
        assert plot.draw(style="dark").axes


def test_real_reasons_for_missing_curves(tmp_path):
    """A trial whose file has evaluations, but no finished training episode and no bound."""
    columns = {
        "num_env_steps_sampled_lifetime": [100],
        "time_total_s": [1.0],
        "evaluation/super_extreme/return_mean": [5.0],
    }
    pd.DataFrame(columns).to_csv(tmp_path / "progress.csv", index=False)
    results = cheetah(with_contexts=False)
    checkpoint = {"run": "SaCCM seed 0", "algorithm": "SaCCM", "path": str(tmp_path / "checkpoint_000000")}
    results.provenance["checkpoints"] = [checkpoint]
    learning = training.learning_curves(results)
    assert [plot.name for plot in learning.plots] == [
        "learning_crippledhalfcheetah_return_mean_super_extreme_env_steps"
    ]
    assert "no training episode was finished (SaCCM seed 0)" in " ".join(learning.notes)
    assert "no bound in the progress.csv of SaCCM seed 0" in training.information(results).missing


def test_runs_show_how_long_they_were_trained_and_warn_of_differences():
    results = cheetah(with_contexts=False)
    section = training.runs(results)
    assert not section.missing
    assert len(section.tables[0].rows) == 6
    assert "100,000" in section.tables[0].rows[0]
    unequal = np.where(results.episodes["algorithm"] == "SaCCM", 300_000, -1)
    assert "unknown" in training.runs(Results(results.episodes.assign(env_steps=unequal))).tables[0].rows[-1]
    unequal = np.where(results.episodes["run"] == "SaCCM seed 1", 300_000, 100_000)
    missing = training.runs(Results(results.episodes.assign(env_steps=unequal))).missing
    assert "SaCCM 100,000 to 300,000, TESAC 100,000" in missing


def test_provenance_is_in_words():
    results = cheetah(with_contexts=False)
    results.provenance |= {"checkpoints": [{"run": "a", "path": "b"}], "left_out": [], "max_steps": {"c": 7}}
    first, second = training.provenance(results).tables
    assert ["max steps: c", "7"] in first.rows
    assert all("left" not in name for name, _ in first.rows)
    assert (second.caption, second.columns, second.rows) == ("Checkpoints", ["run", "path"], [["a", "b"]])


def test_a_single_run_has_a_warning_and_no_interval():
    section = scores.splits(cheetah(seeds=(0,), with_contexts=False))
    assert "Only one training run of each: SaCCM, TESAC" in section.missing
    assert "[" not in section.tables[0].rows[0][2]
    assert "n = 1 run per agent" in section.plots[0].caption
    assert "interval" not in section.plots[0].caption + section.tables[0].caption
    assert not scores.splits(cheetah(with_contexts=False)).missing


def test_the_command_reports_the_paper_alone(tmp_path):
    out = tmp_path / "out"
    run = CliRunner().invoke(main, ["report", "--paper", "--out", str(out)])
    assert run.exit_code == 0, run.output
    assert run.stdout == f"Written: {out / 'index.html'}\n"  # what it is at goes to stderr
    page = _page(out)
    assert list(page.text) == ["runs", "splits", "profiles", "tasks", "maps", "panda", "provenance"]
    markdown = (out / "report.md").read_text("utf-8")
    for agent, iqm in (("CCM", "1.10"), ("SaTESAC", "1.62"), ("SaCCM", "1.59")):
        assert f"| extreme | {agent} | {iqm} [" in markdown
    assert len(page.figures["maps"]) == 2  # PandaPush: the rates and their differences
    assert len(page.figures["panda"]) == 1
    results = paper_results()
    agents = order(results.episodes["algorithm"])
    for section in (scores.profiles(results), maps.maps(results)):
        _assert_drawn_again_the_same(section, agents, out / "figures", tmp_path)


def test_single_run_of_one_algorithm_on_one_task(tmp_path):
    few = cheetah(episodes=1, seeds=(0,))
    keep = ((few.episodes["algorithm"] == "SaCCM") & (few.episodes["split"] == "extreme")).to_numpy(copy=True)
    keep[keep.nonzero()[0][1:]] = False
    few.contexts.values = few.contexts.values[keep]
    report(Results(few.episodes[keep], few.contexts), tmp_path)
    page = _page(tmp_path)
    assert list(page.text) == ["runs", "splits", "provenance"]
    assert page.text["splits"].split()[0] == "Scores"  # no split to generalise to
    left_out = page.text["provenance"].partition("Left out of this page")[2]
    assert "Performance profiles There is only one agent" in left_out
    assert "Task by task There is only one task" in left_out
    assert not re.search(r"\bnan\b", (tmp_path / "report.md").read_text("utf-8"), re.IGNORECASE)
    assert page.figures["splits"]


def test_environments_of_any_name_are_reported(tmp_path):
    """Names of Gymnasium have a namespace, those of RLlib may be anything, and files are named after them."""
    results = cheetah(episodes=1, with_contexts=False)
    results.episodes["environment"] = "a team/Odd: name?-v0"
    report(results, tmp_path)
    page = _page(tmp_path)
    assert page.figures["maps"]
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"map_odd_name__return.svg", "map_odd_name__return.png"} <= names


def test_agents_whose_names_make_one_file_have_figures_of_their_own():
    plots = [Plot(f"trajectories_{name}", name, None) for name in ("stride 5", "Stride 5", "stride<5", "stride 10")]
    sections = [Section("one", "One", plots=plots[:2]), Section("two", "Two", plots=plots[2:])]
    _name_apart(sections)
    assert [plot.name for section in sections for plot in section.plots] == [
        "trajectories_stride_5", "trajectories_Stride_5_2", "trajectories_stride_5_3", "trajectories_stride_10",
    ]  # fmt: skip
    assert [plot.caption for plot in sections[0].plots] == ["stride 5", "Stride 5"]


def test_a_report_that_was_only_partly_removed_is_known_again(tmp_path, monkeypatch):
    few = panda(episodes=1)
    results = Results(few.episodes[(few.episodes["algorithm"] == "TESAC") & (few.episodes["split"] == "extreme")])
    report(results, tmp_path / "page")
    unlink, left = Path.unlink, []
    monkeypatch.setattr(Path, "unlink", lambda file, **kwargs: (left.append(file.name), unlink(file, **kwargs)))
    report(results, tmp_path / "page")
    assert len(left) > 1
    assert left[-1] == "index.html"
    monkeypatch.undo()
    monkeypatch.setattr("rllib_sami.evaluation.reporting._sections", lambda results, out: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report(results, tmp_path / "page")
    monkeypatch.undo()
    assert report(results, tmp_path / "page").is_file()


def test_a_former_report_is_replaced_and_nothing_else(tmp_path):
    """What an earlier report drew and this one does not is gone; results and files of others are refused."""
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "old.svg").write_text("old")
    (tmp_path / "index.html").write_text(f"<!doctype html>{GENERATOR}")
    few = panda(episodes=1)
    one = Results(few.episodes[(few.episodes["algorithm"] == "TESAC") & (few.episodes["split"] == "extreme")])
    report(one, tmp_path)
    assert not (tmp_path / "figures" / "old.svg").exists()
    assert GENERATOR in (tmp_path / "index.html").read_text("utf-8")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds notes\.txt, which no report wrote"):
        report(one, tmp_path)
    assert (tmp_path / "report.md").is_file()
    one.save(tmp_path / "results")
    with pytest.raises(ValueError, match="holds results of `rllib evaluate`"):
        report(one, tmp_path / "results")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "index.html").write_text("my page")
    with pytest.raises(ValueError, match=r"holds index\.html, but no report"):
        report(one, tmp_path / "other")
    assert (tmp_path / "other" / "index.html").read_text() == "my page"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either folders with results or --paper"),
        (["--paper", "somewhere"], "either folders with results or --paper"),
        (["nowhere"], "nowhere: no results.parquet in it"),
        (["--paper", "--out", "/proc/report"], "/proc/report: the report cannot be written there"),
    ],
)
def test_command_says_what_is_wrong(arguments, message):
    run = CliRunner().invoke(main, ["report", *arguments])
    assert run.exit_code == 2
    assert message in run.output


def test_no_episodes():
    results = panda()
    with pytest.raises(ValueError, match="no episodes"):
        report(Results(results.episodes.iloc[:0]), "nowhere")


def test_cells():
    assert [text(value) for value in (1234.5678, 12.345, 1.0, 0.01234, 0.0, float("nan"), None, 12345, "a", True)] == [
        "1,235", "12.3", "1.00", "0.0123", "0", "–", "–", "12,345", "a", "True"]  # fmt: skip
    table = Table("", pd.DataFrame({"a": ["1.0 [0.9, 1.1]", "–"], "b": ["train", "–"], "c": [1, 2]}))
    assert table.text_columns == [False, True, False]
