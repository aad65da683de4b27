"""Symptoms of an agent that does not learn: contrasts at chance level, contexts that are equal or useless.

Contrasts and contexts may look like that for a while at the beginning, so a symptom is counted in consecutive encoder
updates, and there is a warning after ``PATIENCE`` of them. In the runs of docs/results.md in which contexts come to
tell tasks apart, contrasts between tasks leave chance level within 700 updates (HalfCheetah's, which stays weak, within
2,000). SaCCM's contrast between skills is only counted: in most successful runs it stays at chance level for long, or
to the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

PATIENCE = 1_000  # encoder updates

CHANCE = 0.05  # share of log K; chance level is 0, and bounds below this share count as at chance
# Standard deviations of contexts below which they count as equal.
EQUAL_ON_SPHERE = 0.1  # relative to that of random directions, 1/sqrt(D); new encoders have 0.2 to 0.6
EQUAL = 0.02  # of contexts that are not normalised; TESAC's in docs/results.md start at 0.12 to 0.6
STANDARD_ERRORS = 2.0  # least difference of returns that counts

HEALTH = "health"  # key in results
SKILLS, TASKS, CONTRAST = "skills_at_chance", "tasks_at_chance", "contrast_at_chance"
CONTEXTS = "contexts_equal"
_METRIC = {SKILLS: "skill_bound", TASKS: "task_bound", CONTRAST: "sance_bound", CONTEXTS: "context_std"}
_ADVICE = {
    TASKS: "The contexts do not tell tasks apart. Raise `contrast_episodes` (more episodes of each task), let the "
    "encoder read rewards if only they differ (`encoder_reward=True`), lower `temperature`, or train for longer.",
    CONTRAST: "The contexts tell nothing apart. Raise `contrast_episodes`, let the encoder read rewards if only they "
    "differ (`encoder_reward=True`), lower `temperature`, or train for longer.",
    CONTEXTS: "Actor and critics learn as if there were no context. Lower `encoder_lr`, let the encoder read rewards "
    "if only they tell tasks apart (`encoder_reward=True`); with a contrast raise `contrast_episodes`. If the task "
    "needs no memory, PlainSAC is quicker.",
}


def at_chance(bound: float, log_k: float) -> bool:
    """Whether a contrastive bound, in nats, means that pairs are told apart no better than by chance."""
    return bound < CHANCE * log_k


def are_equal(context_std: float, context_dim: int, on_sphere: bool) -> bool:
    """Whether contexts with this standard deviation (mean over components) count as equal."""
    return context_std < (EQUAL_ON_SPHERE / math.sqrt(context_dim) if on_sphere else EQUAL)


def gain_of_contexts(learned: Sequence[float], zeroed: Sequence[float]) -> tuple[float, float]:
    """Mean gain in return of learned contexts over zeros in the same episodes, and its standard error."""
    gain = np.asarray(learned, float) - np.asarray(zeroed, float)
    error = float(gain.std(ddof=1) / math.sqrt(len(gain))) if len(gain) > 1 else math.inf
    return float(gain.mean()), error


def are_of_use(learned: Sequence[float], zeroed: Sequence[float]) -> bool:
    """Whether returns of the same episodes are clearly higher with learned contexts than with zeros instead."""
    gain, error = gain_of_contexts(learned, zeroed)
    return gain > STANDARD_ERRORS * error


class Health:
    """Counts for how many consecutive encoder updates each symptom has lasted.

    Args:
        names: The symptoms to look for.
        context_dim: Width ``D`` of the contexts.
        on_sphere: Whether contexts are normalised.
    """

    def __init__(self, names: Sequence[str] = (), context_dim: int = 0, on_sphere: bool = False):
        self._names = tuple(names)
        self._context_dim, self._on_sphere = context_dim, on_sphere
        self._since: dict[str, float] = {}

    def look(self, metrics: Mapping[str, Any], updates: float) -> dict[str, int]:
        """Returns the counts by symptom. A symptom whose metric is missing or NaN keeps its state.

        Args:
            metrics: Metrics of the learner.
            updates: Encoder updates so far.
        """
        for name in self._names:
            value, log_k = (float(metrics.get(key, math.nan)) for key in (_METRIC[name], "log_k"))
            if name == CONTEXTS:
                is_there = are_equal(value, self._context_dim, self._on_sphere)
            else:
                is_there = at_chance(value, log_k)
            if is_there:
                self._since.setdefault(name, updates)
            elif not math.isnan(value):
                self._since.pop(name, None)
        return {name: int(updates - self._since.get(name, updates)) for name in self._names}

    def get_state(self) -> dict[str, float]:
        """Encoder updates at which each present symptom began."""
        return dict(self._since)

    def set_state(self, state: Mapping[str, float]) -> None:
        """Restores :meth:`get_state`."""
        self._since = {name: float(updates) for name, updates in state.items() if name in self._names}


def symptoms(counts: Mapping[str, int]) -> list[str]:
    """Names of the symptoms that have lasted long enough for a warning."""
    return [name for name, count in counts.items() if name in _ADVICE and count >= PATIENCE]


def warning(name: str, count: int, metrics: Mapping[str, Any]) -> str:
    """Returns the warning about a symptom: its metric, how long it has lasted, and what to try."""
    value, metric = float(metrics.get(_METRIC[name], math.nan)), _METRIC[name]
    if name == CONTEXTS:
        what = f"Contexts are nearly equal, whatever the episode: `{metric}` is {value:.3f}"
    else:
        which = " between tasks" if name == TASKS else ""
        most = float(metrics.get("log_k", math.nan))
        what = f"The contrast{which} is at chance: `{metric}` is {value:.3f} of at most {most:.2f} nats"
    return f"{what}, and has been for {count:,} updates of the encoder. {_ADVICE[name]}"
