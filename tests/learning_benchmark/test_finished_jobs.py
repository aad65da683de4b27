"""What is told of finished jobs: time to a return, use of the context, the page, its figure and comparisons."""

import json

import pandas as pd
from click.testing import CliRunner

from .three_jobs import results_of


def test_time_to_return_counts_seeds_that_got_there(benchmark, monkeypatch, tmp_path):
    from benchmarks.learning import time_to_return

    steps = [1_000.0 * i for i in range(1, 11)]
    good = pd.DataFrame({"env_steps": steps, "cpu_s": range(1, 11), "return_mean": range(10)})
    every = [good.assign(algorithm="A", job=f"A{i}", environment="E", cpu_s=good["cpu_s"] * i) for i in (1, 3)]
    every.append(good.assign(algorithm="B", job="B1", environment="E", return_mean=float("nan")))
    monkeypatch.setattr(time_to_return, "finished", lambda folder: [])
    monkeypatch.setattr(time_to_return, "curves", lambda jobs: pd.concat(every, ignore_index=True))
    table = time_to_return.time_to_return_table(tmp_path, "E", 4.0).set_index("algorithm")
    assert list(table["seeds there"]) == ["2 of 2", "0 of 1"]
    assert table.loc["A", "env steps"] == "7,000 (7,000 to 7,000)"  # the mean of returns 2 to 6
    assert table.loc["A", "CPU s"] == "14 (7 to 21)"
    assert table.loc["B", "CPU s"] == "–"


def test_time_to_return_per_step_and_of_a_reference(benchmark, finished_jobs, tmp_path):
    from benchmarks.learning.__main__ import main

    folder, jobs = finished_jobs  # each gets a return of 100 i after 200 i steps and i CPU seconds
    (folder / "jobs" / jobs[0].id / "episodes" / "provenance.json").write_text('{"max_steps": {"Pendulum": 200}}')
    reference = tmp_path / "reference.csv"
    reference.write_text("env_steps,cpu_s,return_last100,length_last100\n5000,1,,\n6000,2,900,1000\n7000,3,3500,1000\n")

    def rows(*words: object) -> dict[str, list[str]]:
        words = ["time-to-return", folder, "--env", "Pendulum", "--reference", reference, *words]
        result = CliRunner().invoke(main, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        lines = [line.strip("| ").split(" | ") for line in result.output.splitlines()[2:]]
        return {name: cells for name, *cells in lines}

    # The smoothed 300 is reached where 500 is; 3 a step is a return of 600 in 200 steps, of 300 in 100.
    assert rows("--return", 300)["SAC"] == ["2 of 2", "1,000 (1,000 to 1,000)", "5 (5 to 5)"]
    assert rows("--return", 300)["reference"] == ["1 of 1", "6,000", "2"]
    per_step = rows("--return", 3, "--per-step")
    assert per_step["SAC"] == ["2 of 2", "1,300 (1,000 to 1,600)", "6 (5 to 8)"]
    assert per_step["SaCCM"] == ["2 of 2", "1,000 (1,000 to 1,000)", "5 (5 to 5)"]
    assert per_step["reference"] == ["1 of 1", "7,000", "3"]
    assert rows("--return", 4, "--per-step")["reference"] == ["0 of 1", "– (best 3.50 at 7,000 steps, 3 CPU s)", "–"]

    reference.write_text("env_steps,cpu_s\n1,1\n")
    words = ["time-to-return", str(folder), "--env", "Pendulum", "--return", "3", "--reference", str(reference)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert "no column return_last100" in result.output


def test_contexts_are_played_once_and_compared_seed_by_seed(benchmark, finished_jobs, monkeypatch):
    from benchmarks.learning import contexts
    from benchmarks.learning.__main__ import main

    folder, _ = finished_jobs
    played = []

    def play(job, place, context):
        assert place == folder / "jobs" / job.id
        played.append((job.id, context))
        return results_of(job, context)

    def contexts_of(*words: str) -> str:
        result = CliRunner().invoke(main, ["contexts", str(folder), *words])
        assert result.exit_code == 0, result.output
        return (folder / "contexts.md").read_text()

    monkeypatch.setattr(contexts, "play", play)
    for seed, run, width in ((3, "PlainSAC", None), (4, "SaMI", 0)):
        file = folder / "jobs" / f"SAC-Pendulum-seed{seed}" / "done.json"
        done = json.loads(file.read_text())
        done["settings"]["run"] = run
        done["settings"]["config"]["context_dim"] = width
        file.write_text(json.dumps(done))
    (folder / "jobs" / "CCM-Pendulum-seed3" / ".contexts").mkdir()  # of a process that was killed
    assert "| SaCCM |" not in contexts_of("--only", "CCM-*")
    first = [(f"CCM-Pendulum-seed{seed}", context) for seed in (3, 4) for context in ("zero", "shuffled")]
    assert played == first
    page = contexts_of()
    assert played == first + [(f"Sa{name}", context) for name, context in first]  # and those without context never
    assert contexts_of() == page
    assert len(played) == 8
    # Seeds differ by 100, contexts by 4 and 1 for each: the difference in pairs has no spread.
    row = "| 2 | 60.0 (10.0 to 110.0) | 56.0 (6.0 to 106.0) | 59.0 (9.0 to 109.0) | 4.00 (4.00 to 4.00) |"
    assert f"| train | SaCCM {row}" in page
    assert f"| extreme | CCM {row}" in page
    table = pd.read_parquet(folder / "contexts.parquet")
    assert dict(table.groupby("context").size()) == {"learned": 32, "zero": 32, "shuffled": 32}
    assert set(table["algorithm"]) == {"SaCCM", "CCM"}

    result = CliRunner().invoke(main, ["contexts", str(folder), "--only", "SAC-*"])
    assert result.exit_code == 2
    assert "none of the 4 finished jobs fits, such as CCM-Pendulum-seed3" in result.output


def test_the_page_has_the_environments_with_the_usual_algorithms_and_seeds(benchmark):
    from benchmarks.learning.reporting import as_complete

    def jobs(environment, **seeds):
        some = [(algorithm, seed) for algorithm, mine in seeds.items() for seed in mine]
        return [{"settings": {"environment": environment, "algorithm": name, "seed": seed}} for name, seed in some]

    usual = jobs("one", CCM=[0, 1], SAC=[0, 1]) + jobs("other", SAC=[1, 0], CCM=[0, 1])
    odd = {
        "a seed less": {"CCM": [0], "SAC": [0, 1]},
        "other seeds": {"CCM": [0, 1], "SAC": [0, 2]},
        "a seed more": {"CCM": [0, 1, 2], "SAC": [0, 1]},
        "an algorithm less": {"CCM": [0, 1]},
    }
    others = [job for name, seeds in odd.items() for job in jobs(name, **seeds)]
    assert as_complete(others + usual) == (usual, list(odd))
    assert as_complete(others) == (jobs("a seed more", **odd["a seed more"]), [*odd][:2] + [*odd][3:])  # the fullest
    assert as_complete(usual[:3]) == (usual[:3], [])


def test_a_figure_is_small_and_the_same_from_the_same_results(benchmark, finished_jobs, tmp_path):
    from benchmarks.learning.__main__ import main
    from rllib_sami.evaluation.style import STYLES

    for name in ("first", "second"):
        result = CliRunner().invoke(main, ["figure", str(finished_jobs[0]), "--out", str(tmp_path / name / "a.svg")])
        assert result.exit_code == 0, result.output
    first, second = ((tmp_path / name / "a.svg").read_text() for name in ("first", "second"))
    assert first == second
    assert len(first) < 200_000
    assert "dc:date" not in first
    for word in ("Pendulum", "train", "extreme", "SaCCM", "CCM", "SAC"):
        assert f"<!-- {word} -->" in first  # beside the glyphs' outlines
    for name in ("SaCCM", "CCM"):
        assert STYLES["light"].algorithms[name] in first
    assert "stroke-dasharray" in first


def test_comparisons_of_known_scores(benchmark):
    from benchmarks.learning.tables import comparisons, spans

    rows = [
        {"algorithm": name, "run": f"{name}{seed}", "context": "learned", "explore": False, "environment": "E",
         "split": "train", "task_id": task, "return": value + seed, "success": None}
        for name, value in (("SaCCM", 10.0), ("SAC", 0.0), ("CCM", 10.0)) for seed in range(3) for task in range(2)
    ]  # fmt: skip
    table = spans(comparisons(pd.DataFrame(rows))).set_index("comparison")["estimate"]
    assert table["P(SaCCM > SAC)"] == "1.00 (1.00 to 1.00)"
    assert table["P(SaCCM > CCM)"].startswith("0.50 (")
    assert table["return of SaCCM less that of SAC"].startswith("10.0 (")
    assert "P(SaTESAC > TESAC)" not in table
