"""Names of agents, and their order in every table and figure."""

from __future__ import annotations

import re
from collections.abc import Iterable

ORACLE = "oracle"
KNOWN = ("SaCCM", "SaTESAC", "CCM", "TESAC", "SaPPO", "SaMI", "RecurrentSAC", "PlainSAC", "PPO", "SAC")
LONGEST_NAME = 40  # characters


def is_name(name: str) -> bool:
    """Returns whether an agent may be called so: what follows a comma is how it is played."""
    return name.isprintable() and bool(name.strip()) and "," not in name and len(name) <= LONGEST_NAME


def algorithm_of(agent: str) -> str:
    """Returns the algorithm of ``"SaCCM, zero context"``; any agent that observes the task is an oracle."""
    name = agent.partition(",")[0]
    return ORACLE if name.endswith(f"({ORACLE})") else name


def is_oracle(agent: str) -> bool:
    """Returns whether an agent observes the task."""
    return algorithm_of(agent) == ORACLE


def agent_order(agent: str) -> str:
    """Returns the sort key of an agent: well-known ones from the method's own down, others by name, oracles last.

    Numbers in names count as numbers: "stride 5" comes before "stride 10".
    """
    ranks = {name: rank for rank, name in enumerate(KNOWN)} | {ORACLE: len(KNOWN) + 1}
    named = re.sub(r"\d+(\.\d+)?", lambda found: f"{float(found.group()):020.6f}", agent)
    return f"{ranks.get(algorithm_of(agent), len(KNOWN)):02d} {named}"


def order(agents: Iterable[str]) -> list[str]:
    """Returns the different agents in their order."""
    return sorted(set(agents), key=agent_order)
