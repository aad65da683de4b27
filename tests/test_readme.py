"""What the README shows runs as printed."""

import re
from pathlib import Path

import gymnasium

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LOOP = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "agent.act" in block)


class Parts(gymnasium.ObservationWrapper):
    """Gives observations in two parts."""

    def __init__(self, env):
        super().__init__(env)
        low, high = env.observation_space.low, env.observation_space.high
        boxes = {"first": gymnasium.spaces.Box(low[:3], high[:3]), "rest": gymnasium.spaces.Box(low[3:], high[3:])}
        self.observation_space = gymnasium.spaces.Dict(boxes)

    def observation(self, observation):
        return {"first": observation[:3], "rest": observation[3:]}


def test_a_trained_agent_acts_in_a_loop(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    names: dict = {}
    exec(LOOP, names)
    assert names["truncated"]
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_the_loop_takes_observations_in_parts(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert "load(path, observation_space=env.observation_space)" in README
    code, loads = re.subn(r"load\((.*?)\)", r"load(\1, observation_space=env.observation_space)", LOOP)
    code, makes = re.subn(r"(gymnasium\.make\(.*\))", r"Parts(\1)", code)
    assert (loads, makes) == (1, 1)
    names = {"Parts": Parts}
    exec(code, names)
    assert names["truncated"]
    assert set(names["obs"]) == {"first", "rest"}
