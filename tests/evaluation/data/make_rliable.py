"""Writes rliable.json: what rliable says of fixed random scores.

rliable 1.2.0 does not import beside pandas 3, hence an environment of its own:

    python -m venv /tmp/rliable && /tmp/rliable/bin/pip install rliable==1.2.0 "pandas<3"
    /tmp/rliable/bin/python tests/evaluation/data/make_rliable.py
"""

import json
from pathlib import Path

import numpy as np
from rliable import library, metrics

REPS = 20_000


def main() -> None:
    rng = np.random.default_rng(0)
    # Rounded, so that there are ties between runs.
    scores = {
        "x": np.round(rng.gamma(4.0, 0.3, (5, 8)) + 0.2 * rng.random(8), 2),
        "y": np.round(rng.gamma(4.0, 0.25, (7, 8)), 1),
    }
    functions = [
        metrics.aggregate_iqm,
        metrics.aggregate_mean,
        metrics.aggregate_median,
        metrics.aggregate_optimality_gap,
    ]
    estimates, intervals = library.get_interval_estimates(
        scores, lambda matrix: np.array([function(matrix) for function in functions]), reps=REPS
    )
    pairs = {"x,y": (scores["x"], scores["y"])}
    chance, chance_interval = library.get_interval_estimates(pairs, metrics.probability_of_improvement, reps=2000)
    thresholds = np.linspace(0, 3, 16)
    profiles, _ = library.create_performance_profile(scores, thresholds, reps=10)
    content = {
        "scores": {name: matrix.tolist() for name, matrix in scores.items()},
        "aggregates": {
            name: {"estimates": estimates[name].tolist(), "intervals": intervals[name].tolist()} for name in scores
        },
        "improvement": {"estimate": float(chance["x,y"]), "interval": chance_interval["x,y"].ravel().tolist()},
        "profiles": {
            "thresholds": thresholds.tolist(),
            **{name: profile.tolist() for name, profile in profiles.items()},
        },
    }
    path = Path(__file__).with_name("rliable.json")
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
