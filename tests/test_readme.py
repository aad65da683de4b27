"""What the README shows runs as printed."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_a_trained_agent_acts_in_a_loop(monkeypatch, capsys):
    [code] = [block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "agent.act" in block]
    monkeypatch.chdir(ROOT)
    names: dict = {}
    exec(code, names)
    assert names["truncated"]
    assert len(capsys.readouterr().out.splitlines()) == 2
