"""What agents are called, and the one order they have in every table and figure."""

from __future__ import annotations

from collections.abc import Iterable

ORACLE = "oracle"
KNOWN = ("SaCCM", "SaTESAC", "CCM", "TESAC", "SaPPO", "SaMI", "RecurrentSAC", "PlainSAC", "PPO", "SAC")


def algorithm_of(agent: str) -> str:
    """Returns the algorithm of ``"SaCCM, zero context"``; any agent that is told the task is an oracle."""
    name = agent.partition(",")[0]
    return ORACLE if name.endswith(f"({ORACLE})") else name


def is_oracle(agent: str) -> bool:
    """Returns whether an agent is told the task."""
    return algorithm_of(agent) == ORACLE


def order(agents: Iterable[str]) -> list[str]:
    """Returns agents in their order: well-known ones from the method's own down, others by name, oracles last."""
    ranks = {name: rank for rank, name in enumerate(KNOWN)} | {ORACLE: len(KNOWN) + 1}
    return sorted(set(agents), key=lambda agent: (ranks.get(algorithm_of(agent), len(KNOWN)), agent))
