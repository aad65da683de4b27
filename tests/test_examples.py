"""The examples run, and so does what the guide on other algorithms shows."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.learning
def test_sami_in_your_own_learner(fresh_python):
    example = (ROOT / "examples/sami_in_your_own_learner.py").read_text()
    printed = fresh_python(example.replace("range(5)", "range(2)"))
    bounds = [float(bound) for bound in re.findall(r"SaNCE bound (\S+) nats", printed)]
    assert len(bounds) == 2
    assert bounds[-1] == bounds[-1]  # a number: there was a contrast


def test_the_guides_loop_without_ray(fresh_python):
    guide = (ROOT / "docs/plug_and_play.md").read_text()
    loop = guide.split("## Without Ray")[1].split("```python")[1].split("```")[0]
    printed = fresh_python("import sys; sys.modules['ray'] = None\n" + loop)
    assert "tensor(" in printed
