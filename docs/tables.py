"""Fills the tables of splits and baselines in the environments' pages.

    python docs/tables.py

A page asks for a table with two lines, ``<!-- splits: SaMI/Ant-v0 -->`` or ``<!-- baselines: SaMI/Ant-v0 -->`` and
``<!-- end -->``; what stands between them is replaced. Splits come from the code, baselines from
``rllib_sami/evaluation/baselines.csv``.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rllib_sami.envs import ENVIRONMENTS
from rllib_sami.envs.tasks import parse_meta_tasks
from rllib_sami.envs.text import describe_meta_tasks

DOCS = Path(__file__).parent
BASELINES = DOCS.parent / "rllib_sami" / "evaluation" / "baselines.csv"
PLACE = re.compile(
    r"(?P<begin><!-- (?P<kind>splits|baselines): (?P<env_id>\S+) -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)
MOST_ROWS = 24  # of one split


def markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def splits(env_id: str) -> str:
    """Returns the meta-tasks of all splits as one table; of a very long split, the first ones."""
    cls = ENVIRONMENTS[env_id]
    parsed = {name: parse_meta_tasks(cls.factors, tasks, name) for name, tasks in cls.splits.items()}
    titles, cells = describe_meta_tasks([meta_task for tasks in parsed.values() for meta_task in tasks])
    remaining = iter(cells)
    rows = []
    for name, tasks in parsed.items():
        mine = [[f"`{name}`", str(index), *next(remaining)] for index in range(len(tasks))]
        rows += (
            mine if len(mine) <= MOST_ROWS else [*mine[:5], [f"`{name}`", f"… {len(mine) - 1}", *["…"] * len(titles)]]
        )
    return f"{markdown(['split', 'task_id', *titles], rows)}\nA factor without a column is neutral.\n"


def baselines(env_id: str) -> str:
    """Returns the recorded returns as a table, and success rates where there are any."""
    with BASELINES.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["env_id"] == env_id]
    cells = {(row["split"], row["policy"]): row for row in rows}
    success = any(row["success_rate"] for row in rows)
    table = []
    for split in dict.fromkeys(row["split"] for row in rows):
        pair = [cells[split, policy] for policy in ("zero", "random")]
        line = [f"`{split}`", *(f"{float(row['return_mean']):,.1f} ± {float(row['return_std']):,.1f}" for row in pair)]
        if success:
            line += [f"{100 * float(row['success_rate']):.1f} %" for row in pair]
        table.append([*line, pair[0]["episodes"]])
    titles = ["split", "zero action", "random actions", *["success, zero", "success, random"] * success, "episodes"]
    return (
        f"{markdown(titles, table)}\n"
        "Returns, mean ± standard deviation over episodes of the usual length, every meta-task equally often "
        f"(`python benchmarks/baselines.py {env_id}`).\n"
    )


def filled(page: str) -> str:
    """Returns a page with its tables."""
    makers = {"splits": splits, "baselines": baselines}
    return PLACE.sub(lambda place: f"{place['begin']}\n{makers[place['kind']](place['env_id'])}\n{place['end']}", page)


if __name__ == "__main__":
    for path in sorted((DOCS / "environments").glob("*.md")):
        before = path.read_text(encoding="utf-8")
        after = filled(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(f"filled {path.relative_to(DOCS)}")
