"""Fills the tables of the page of settings, from the settings of the configs.

    python docs/settings.py

The page asks for a table with two lines, ``<!-- settings: NAMES -->``, or ``<!-- changed: ALGORITHMS -->`` for what of
RLlib's defaults is another one there, or ``<!-- rllib: settings -->`` (or ``model``) for what becomes of RLlib's
settings, and ``<!-- end -->``; what stands between them is replaced.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo import PPOConfig

import rllib_sami
from rllib_sami.config.rllib_settings import IDLE, MAPPED, MODEL, REFUSED, RENAMED, TABLE, USED, Row
from rllib_sami.config.unused_settings import without_effect
from rllib_sami.core.settings import Setting

PAGE = Path(__file__).with_suffix(".md")
PLACE = re.compile(
    r"(?P<begin><!-- (?P<kind>settings|changed|rllib): (?P<names>[^\n]+?) -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)
PAUSE = r"(?<=[.;]) "  # in a text
SKILLS = ("CSF", "METRA", "DIAYN", "VISR", "CIC", "DADS")
INFERENCE = ("TaskInference", "NeuralProcess")
SKIMO = ("SkiMoPretrain", "SkiMo", "SPiRL", "TDMPC")
GROUPS = {"skill discovery": SKILLS, "task inference": INFERENCE}  # of algorithms, by the name that they have together
ALGORITHMS = ("SaCCM", "SaTESAC", "CCM", "TESAC", "RecurrentSAC", "PlainSAC", "SaPPO", *SKILLS, *INFERENCE, *SKIMO)
# What RLlib keeps under a private name.
PUBLIC = ("env_to_module_connector", "module_to_env_connector", "learner_connector", "train_batch_size_per_learner",
          "model_config", "rl_module_spec", "learner_class")  # fmt: skip
CONFIGS = {name: getattr(rllib_sami, f"{name}Config") for name in ALGORITHMS}


def markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table."""
    lines = [titles, ["---"] * len(titles), *([cell.replace("|", r"\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def code(value: Any) -> str:
    """Returns a value, or a name, as code."""
    if isinstance(value, type):
        value = value.__name__
    return f"`{value}`" if isinstance(value, str) and value.isidentifier() else f"`{value!r}`"


def allowed(one: Setting) -> str:
    """Returns the values that a setting takes."""
    words = re.sub(r"^one of \[(.*)\]", r"\1", one.allowed.words)
    return re.sub(r"'\w+'|None", r"`\g<0>`", words)


def folded(algorithms: Iterable[str]) -> list[str]:
    """Returns names of algorithms; those of a group, if all are there, as one."""
    names = [*algorithms]
    for group, members in GROUPS.items():
        if {*members} <= {*names}:
            names = [*(name for name in names if name not in members), group]
    return names


def grouped(values: dict[str, str]) -> list[tuple[list[str], str]]:
    """Returns values that algorithms share, each with their names: the most frequent one first."""
    names: dict[str, list[str]] = {}
    for algorithm, value in values.items():
        names.setdefault(value, []).append(algorithm)
    return sorted(((folded(having), value) for value, having in names.items()), key=lambda group: -len(group[0]))


def by_algorithm(values: dict[str, str]) -> str:
    """Returns values that algorithms share: the most frequent one, then the others with their names."""
    (_, usual), *others = grouped(values)
    return "; ".join([usual, *(f"{', '.join(names)} {value}" for names, value in others)])


def meaning(texts: dict[str, str]) -> str:
    """Returns what a setting means: the most frequent text, then what others have instead of it.

    Where a text only goes on where another one ends, it stands for both.
    """
    longest = {
        algorithm: max((text for text in texts.values() if text.startswith(own.rstrip("."))), key=len)
        for algorithm, own in texts.items()
    }
    (_, usual), *others = grouped(longest)
    shared = re.split(PAUSE, usual)
    own = ((names, [part for part in re.split(PAUSE, text) if part not in shared]) for names, text in others)
    return " ".join([usual, *(f"In {_and(names)}: {' '.join(parts)}" for names, parts in own)])


def settings(keys: str) -> str:
    """Returns a table of settings, with what of it an algorithm lacks, or has without effect."""
    configs = {algorithm: config_class() for algorithm, config_class in CONFIGS.items()}
    rows, lacking, unused = [], {}, {}
    for key in keys.split():
        having = [algorithm for algorithm in ALGORITHMS if key in CONFIGS[algorithm].settings]
        if not having:
            raise ValueError(f"No algorithm has `{key}`.")
        idle = [algorithm for algorithm in having if key in without_effect(configs[algorithm])]
        # Defaults without effect say little, unless there are no others.
        defaults = {a: f"`{getattr(configs[a], key)!r}`" for a in having if a not in idle or having == idle}
        values = {algorithm: allowed(CONFIGS[algorithm].settings[key]) for algorithm in having}
        texts = {algorithm: CONFIGS[algorithm].settings[key].meaning for algorithm in having}
        rows.append([f"`{key}`", by_algorithm(defaults), by_algorithm(values), meaning(texts)])
        for found, algorithms in ((lacking, [a for a in ALGORITHMS if a not in having]), (unused, idle)):
            if algorithms:
                found.setdefault(tuple(algorithms), []).append(key)
    notes = [f"{_presence(algorithms)}: {_of(names, rows)}." for algorithms, names in lacking.items()]
    notes += [f"Without effect by default in {_and(folded(of))}: {_of(names, rows)}." for of, names in unused.items()]
    return markdown(["setting", "default", "allowed", "meaning"], rows) + "".join(f"\n{note}\n" for note in notes)


def _presence(lacking: Sequence[str]) -> str:
    having = folded(algorithm for algorithm in ALGORITHMS if algorithm not in lacking)
    absent = folded(lacking)
    return f"Not in {_and(absent)}" if len(absent) < len(having) else f"Only in {_and(having)}"


def _and(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _of(names: list[str], rows: list[list[str]]) -> str:
    return "all of these" if len(names) == len(rows) > 1 else ", ".join(f"`{name}`" for name in names)


def changed(algorithm: str) -> str:
    """Returns a table of RLlib's settings whose defaults are others here."""
    base = vars(PPOConfig() if algorithm == "SaPPO" else AlgorithmConfig())
    here = vars(CONFIGS[algorithm]())
    keys = [key for key in base if key in here and here[key] != base[key] and key != "algo_class"]
    names = {f"_{name}": name for name in PUBLIC}
    rows = [[f"`{names.get(key, key)}`", code(here[key]), code(base[key])] for key in keys]
    return markdown(["setting", "here", "RLlib"], rows)


WHAT_BECOMES = {
    USED: "as in RLlib",
    MAPPED: "sets {}",
    RENAMED: "an error: it is `{}` today",
    REFUSED: "an error: {}",
    IDLE: "a warning: {}",
}


def rllib(table: str) -> str:
    """Returns a table of what becomes of RLlib's settings (`settings`), or of a model's keys (`model`)."""
    known: tuple[Row, ...] = {"settings": TABLE, "model": MODEL}[table]
    rows = []
    for row in known:
        names = [name for name in row.names.split() if not name.startswith("_")]
        names += [name for name in PUBLIC if f"_{name}" in row.names.split()]
        if names:
            listed = ", ".join(f"`{name}`" for name in names)
            rows.append([listed, row.of, WHAT_BECOMES[row.fate].format(row.text)])
    if table == "settings":
        rows.append(["all others", "every algorithm", WHAT_BECOMES[USED]])
    return markdown(["setting", "in", "what becomes of it"], rows)


def filled(page: str) -> str:
    """Returns the page with its tables."""
    makers = {"settings": settings, "changed": changed, "rllib": rllib}
    return PLACE.sub(lambda place: f"{place['begin']}\n{makers[place['kind']](place['names'])}\n{place['end']}", page)


if __name__ == "__main__":
    before = PAGE.read_text(encoding="utf-8")
    after = filled(before)
    if after != before:
        PAGE.write_text(after, encoding="utf-8")
        print(f"filled {PAGE.name}")
