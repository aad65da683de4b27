"""Exported agents: what is in them, that they act alike, and that loading them runs nothing of theirs."""

import builtins
import json
import pickle
import sys

import numpy as np
import pytest
import torch

from rllib_sami import SaCCMConfig
from rllib_sami.export import ALGORITHMS, export_agent, load_exported
from rllib_sami.rl_module import SaMITorchRLModule

NETWORK = {"encoder_hidden_dim": 16, "context_dim": 3, "actor_hidden": [16], "normalize_context": True}


@pytest.fixture
def config():
    return SaCCMConfig().environment("SaMI/Pendulum-v0", env_config={"split": "train"}).training(**NETWORK)


@pytest.fixture
def module(config):
    import gymnasium as gym

    spaces = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32), gym.spaces.Box(-2.0, 2.0, (1,), np.float32)
    torch.manual_seed(3)
    return SaMITorchRLModule(observation_space=spaces[0], action_space=spaces[1], model_config=config.model_config)


@pytest.fixture
def exported(module, config, tmp_path):
    progress = {"num_env_steps_sampled_lifetime": 12_345, "episode_return_mean": -123.456, "training_iteration": 7}
    return export_agent(
        module, config, tmp_path / "it", algorithm="SaCCM", progress=progress, command="rllib train file it.yaml"
    )


def change(folder, **changes):
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | changes))


def test_it_acts_as_the_module_did(module, exported):
    agent = load_exported(exported)
    loaded = agent.module()
    state = {key: torch.randn(4, *value.shape) for key, value in module.get_initial_state().items()}
    batch = {"obs": torch.randn(4, 3), "state_in": state}
    ours, theirs = module.forward_inference(batch), loaded.forward_inference(batch)
    assert torch.equal(ours["actions_for_env"], theirs["actions_for_env"])
    assert torch.equal(ours["state_out"]["encoder"], theirs["state_out"]["encoder"])
    assert (loaded.observation_space, loaded.action_space) == (module.observation_space, module.action_space)
    assert agent.algorithm is ALGORITHMS["SaCCM"]
    assert (agent.config.env, agent.config.env_config) == ("SaMI/Pendulum-v0", {"split": "train"})
    assert agent.env_steps() == 12_345


def test_its_files_are_data_and_its_card_tells_what_it_is(exported):
    assert {file.name for file in exported.iterdir()} == {
        "model.safetensors",
        "config.json",
        "README.md",
        "manifest.json",
    }
    content = json.loads((exported / "config.json").read_text())
    assert content["training"]["pairing"] == "skill_task"
    assert content["training"]["critic_lr"] == 1e-3
    card = (exported / "README.md").read_text()
    for text in ("# SaCCM on SaMI/Pendulum-v0", "12,345", "-123.46", "rllib train file it.yaml", "'split': 'train'"):
        assert text in card


def test_loading_it_unpickles_and_imports_nothing(exported, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("unpickled")

    change(exported, environment={"name": "subprocess.Popen", "config": {"touch": 1}}, algorithm="os.system")
    for owner, name in (
        (pickle, "load"),
        (pickle, "loads"),
        (pickle, "Unpickler"),
        (torch, "load"),
        (builtins, "eval"),
    ):
        monkeypatch.setattr(owner, name, refuse)
    before = set(sys.modules)
    agent = load_exported(exported)
    agent.module()
    assert set(sys.modules) == before
    assert (agent.config.env, agent.trained_on) == (None, "subprocess.Popen")
    assert agent.algorithm is ALGORITHMS["SaMI"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 9}, "its format 9 is of a newer version"),
        ({"network": {"evil": 1}}, r"`network` has the keys \['evil'\]"),
        ({"action_space": {"low": [0]}}, "KeyError"),
        ({"environment": 3}, "TypeError"),
    ],
)
def test_what_cannot_be_read_is_refused(exported, changes, message):
    change(exported, **changes)
    with pytest.raises(ValueError, match=f"config.json cannot be read: .*{message}.*Export the checkpoint again"):
        load_exported(exported)


def test_weights_of_other_networks_are_refused(exported):
    content = json.loads((exported / "config.json").read_text())
    change(exported, network=content["network"] | {"context_dim": 4})
    with pytest.raises(ValueError, match=r"model.safetensors cannot be loaded into the networks of config.json"):
        load_exported(exported).module()
    (exported / "model.safetensors").write_bytes(b"\x80\x04K\x01.")  # a pickle
    with pytest.raises(ValueError, match=r"model.safetensors cannot be loaded"):
        load_exported(exported).module()
    with pytest.raises(ValueError, match=r"is no exported agent.*rllib export"):
        load_exported(exported.parent)


def test_an_agent_with_code_of_its_own_is_not_exported(module, config, tmp_path):
    module.__class__ = type("Mine", (SaMITorchRLModule,), {})
    with pytest.raises(ValueError, match="Only a SaMITorchRLModule can be exported, but this agent's is a Mine"):
        export_agent(module, config, tmp_path / "it", algorithm="SaCCM")
    assert list(tmp_path.iterdir()) == []


def test_bad_input(refused, tmp_path):
    assert "no such folder" in refused("export", "nowhere", "--out", "it")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    assert "there is something else in this folder" in refused("export", "nowhere", "--out", "notes")
