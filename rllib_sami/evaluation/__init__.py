"""Zero-shot evaluation: from checkpoints to tables, statistics, figures, videos and one report.

```python
from rllib_sami.evaluation import evaluate, report

results = evaluate(["runs/saccm", "runs/tesac"], episodes=10)  # checkpoints, trials or experiments
results.save("results")
report(results, "report")
```
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rllib_sami.evaluation.play import evaluate
    from rllib_sami.evaluation.reporting import report
    from rllib_sami.evaluation.results import Contexts, Results

__all__ = ["Contexts", "Results", "evaluate", "report"]

# Imported when first used: a report needs the extra "report", and playing needs Ray. (A module named `report` would
# replace the function as soon as it is imported, so it is called `reporting`.)
_HOMES = {"Contexts": ".results", "Results": ".results", "evaluate": ".play", "report": ".reporting"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return __all__
