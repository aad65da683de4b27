"""A made-up ``calvin_env`` with the interface of the real one: what is called, and what comes back.

Nothing is simulated. An action moves the hand by up to 2 cm along each axis; tests move the furniture.
"""

import sys
from types import ModuleType
from typing import Any

import numpy as np
import yaml

BLOCKS = 18  # numbers: places and angles of three blocks


class PlayTableSimEnv:
    """The simulator: Gym's old interface, observations in a dictionary."""

    def __init__(self, cameras, seed, use_vr, show_gui, use_scene_info, use_egl):
        assert (dict(cameras), use_vr, show_gui, use_egl, use_scene_info) == ({}, False, False, False, True)
        self.seed, self.connected = seed, True
        self.doors = {"base__slide": 0.0, "base__drawer": 0.0}
        self.lights = {"lightbulb": 0, "led": 0}
        self.given: list[np.ndarray] = []

    def reset(self, robot_obs=None, scene_obs=None):
        self.hand, self.gripper = np.zeros(6), 1
        self.doors = dict.fromkeys(self.doors, 0.0)
        self.lights = dict.fromkeys(self.lights, 0)
        return self.get_obs()

    def get_obs(self):
        robot = np.array([*self.hand, 0.08, *np.arange(7) / 10, self.gripper])  # Euler angles: 15 numbers
        scene = np.array([*self.doors.values(), 0.0, 0.0, *self.lights.values(), *np.full(BLOCKS, 9.0)])
        return {"rgb_obs": {}, "depth_obs": {}, "robot_obs": robot, "scene_obs": scene}

    def get_info(self):
        doors = {name: {"current_state": state} for name, state in self.doors.items()}
        lights = {name: {"logical_state": state} for name, state in self.lights.items()}
        scene = {"doors": doors, "lights": lights, "buttons": {}, "switches": {}, "movable_objects": {}}
        return {"robot_info": {"gripper_action": self.gripper}, "scene_info": scene}

    def step(self, action):
        self.given.append(action.copy())
        position, turn, gripper = np.split(action, [3, 6])  # views: what is given is changed
        position *= 0.02
        turn *= 0.05
        self.hand += np.concatenate([position, turn])
        self.gripper = gripper[0]
        assert self.gripper in (-1, 1)
        return self.get_obs(), 0, False, self.get_info()

    def close(self):
        self.connected = False


class Config:
    """The settings in a file, where the simulator's cameras refer to those at the top."""

    def __init__(self, content: dict[str, Any]):
        self.cameras, self._env = content["cameras"], content["env"]

    @property
    def env(self) -> dict[str, Any]:
        return {**self._env, "cameras": self.cameras}


class OmegaConf:
    @staticmethod
    def load(path):
        return Config(yaml.safe_load(path.read_text()))


def instantiate(config, **more):
    return PlayTableSimEnv(**{**config, **more})


def install(monkeypatch, folder):
    """Makes the made-up packages importable, and a folder a split of the data."""
    modules = {name: ModuleType(name) for name in ("calvin_env", "hydra", "hydra.utils", "omegaconf")}
    modules["hydra"].utils = modules["hydra.utils"]
    modules["hydra.utils"].instantiate = instantiate
    modules["omegaconf"].OmegaConf = OmegaConf
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    (folder / ".hydra").mkdir(parents=True)
    env = {"seed": 0, "use_vr": True, "show_gui": True, "use_egl": True, "use_scene_info": False}
    content = {"cameras": {"static": {"width": 200}}, "env": env}
    (folder / ".hydra" / "merged_config.yaml").write_text(yaml.safe_dump(content))
