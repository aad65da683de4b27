"""Exported agents: what is in them, that they act alike, and that loading them runs nothing of theirs."""

import builtins
import json
import pickle
import re
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
import yaml
from ray.rllib.callbacks.callbacks import RLlibCallback

from rllib_sami import CCM, SaCCMConfig
from rllib_sami.algorithms.sami.sami import SaMITorchRLModule
from rllib_sami.compat import env_option
from rllib_sami.evaluation import evaluate
from rllib_sami.exports.agents import ALGORITHMS, load_exported
from rllib_sami.exports.model_card import model_card
from rllib_sami.exports.transfer_parts import checkpoint_of
from rllib_sami.exports.writing import export_agent
from rllib_sami.replay_buffers.task_episode_replay_buffer import TaskEpisodeReplayBuffer
from rllib_sami_cli.experiment import load
from rllib_sami_cli.schema import check

NETWORK = {"encoder_hidden_dim": 16, "context_dim": 3, "actor_hidden": [16], "normalize_context": True}


def make_config(**changes):
    return SaCCMConfig().environment("SaMI/Pendulum-v0", env_config={"split": "train"}).training(**NETWORK | changes)


@pytest.fixture
def config():
    return make_config()


@pytest.fixture
def module(config):
    return make_module(config)


def make_module(config):
    spaces = gym.spaces.Box(-np.inf, np.inf, (3,), np.float32), gym.spaces.Box(-2.0, 2.0, (1,), np.float32)
    torch.manual_seed(3)
    return SaMITorchRLModule(observation_space=spaces[0], action_space=spaces[1], model_config=config.model_config)


@pytest.fixture
def exported(module, config, tmp_path):
    progress = {"num_env_steps_sampled_lifetime": 12_345, "episode_return_mean": -123.456, "training_iteration": 7}
    return export_agent(module, config, tmp_path / "it", algorithm="SaCCM", progress=progress)


def block_of(folder, language):
    """The last block of code in a language on a card."""
    return re.findall(rf"```{language}\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[-1]


def change(folder, **changes):
    """Writes other settings, as who does it on purpose has to."""
    (folder / "manifest.json").unlink(missing_ok=True)
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
    agent.progress["num_env_steps_sampled_lifetime"] = None
    assert agent.env_steps() == -1


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
    for text in (
        "# SaCCM on SaMI/Pendulum-v0",
        "12,345",
        "| Return in training | -123.46: mean of the last training episodes",
    ):
        assert text in card
    assert len({file.stat().st_mode for file in exported.iterdir()}) == 1  # whoever may read one may read all


@pytest.mark.parametrize("encoder_reward", [False, True])
def test_the_loop_on_its_card_runs_as_printed(tmp_path, monkeypatch, capsys, encoder_reward):
    config = make_config(encoder_reward=encoder_reward)
    monkeypatch.chdir(export_agent(make_module(config), config, tmp_path / "it", algorithm="SaCCM"))
    code = block_of(tmp_path / "it", "python")
    assert ("act(obs, reward)" in code) == encoder_reward
    names: dict = {}
    exec(code, names)
    assert names["truncated"]
    assert capsys.readouterr().out == f"return {names['total']:.1f}\n"


def test_the_experiment_on_its_card_trains_one_like_it(tmp_path):
    changes = {"gamma": 0.8, "replay_buffer_config": {"capacity": 9_000}, "encoder_lr": 1e-5}
    config = make_config(**changes).env_runners(num_env_runners=2).evaluation(evaluation_duration=10)
    config.debugging(seed=3).validate()
    progress = {"num_env_steps_sampled_lifetime": 5_000}
    folder = export_agent(make_module(config), config, tmp_path / "it", algorithm="SaCCM", progress=progress)
    (tmp_path / "again.yaml").write_text(block_of(folder, "yaml"))
    [experiment] = load(tmp_path / "again.yaml")
    # 10 is RLlib's own default but not the algorithm's, `normalize_context` is the algorithm's.
    named = {*NETWORK, *changes, "seed", "num_env_runners", "evaluation_duration", "env_config"} - {"normalize_context"}
    assert experiment.body["config"].keys() == named
    plan = check(experiment)
    assert plan.stop == progress
    again = SaCCMConfig().environment(plan.config.pop("env")).update_from_dict(plan.config)
    again.validate()
    one = export_agent(make_module(again), again, tmp_path / "other", algorithm="SaCCM", progress=progress)
    assert (one / "config.json").read_text() == (folder / "config.json").read_text()


class MyCCM(CCM):
    """An algorithm of one's own."""


class MyCallbacks(RLlibCallback):
    """Has a path, by which a file can name it."""


def experiment_of(folder):
    return yaml.safe_load(block_of(folder, "yaml"))


def test_what_a_file_cannot_give_is_left_out_of_the_experiment_and_named(module, config, tmp_path):
    config.callbacks(MyCallbacks, on_episode_end=lambda **kwargs: None)
    config.training(replay_buffer_config={"type": type("Local", (TaskEpisodeReplayBuffer,), {})}, gamma=0.8)
    folder = export_agent(module, config, tmp_path / "it", algorithm="SaCCM")
    settings = experiment_of(folder)["config"]
    assert settings["gamma"] == 0.8
    again = SaCCMConfig().update_from_dict({"callbacks_class": settings["callbacks_class"]})
    assert again.callbacks_class is MyCallbacks
    text = (folder / "README.md").read_text()
    assert "\nLeft out, since a file cannot give it: `callbacks_on_episode_end`, `replay_buffer_config`.\n" in text
    assert "lambda" not in text


@pytest.mark.parametrize("has_path", [True, False])
def test_an_algorithm_of_ones_own_is_named_by_its_path_or_has_no_experiment(module, tmp_path, has_path):
    algorithm = MyCCM if has_path else type("MyCCM", (CCM,), {"__module__": "__main__"})
    config = algorithm.get_default_config().environment("SaMI/Pendulum-v0").training(**NETWORK)
    config.algo_class = algorithm
    folder = export_agent(module, config, tmp_path / "it", algorithm="MyCCM")
    if has_path:
        assert experiment_of(folder)["run"] == f"{__name__}.MyCCM"
    else:
        text = (folder / "README.md").read_text()
        assert "trains no MyCCM" in text
        assert "```yaml" not in text


def test_the_loop_takes_observations_in_parts_and_any_name_of_a_setting(module, config, tmp_path, monkeypatch):
    space = gym.spaces.Dict({"a": gym.spaces.Box(-1, 1, (2,)), "b": gym.spaces.Box(-1, 1, (1,))})

    class Nested(gym.Env):
        observation_space, action_space = space, gym.spaces.Box(-2.0, 2.0, (1,))

        def __init__(self, **kwargs):
            self.settings = kwargs

        def reset(self, *, seed=None, options=None):
            return space.sample(), {}

        def step(self, action):
            return space.sample(), 1.0, True, False, {}

    gym.register("Nested-v0", Nested)
    try:
        config.environment("Nested-v0", env_config={"split": 1, "not-a-name": 2, "class": 3})
        monkeypatch.chdir(export_agent(module, config, tmp_path / "it", algorithm="SaCCM"))
        names = {}
        exec(block_of(tmp_path / "it", "python"), names)
        assert names["total"] == 1.0
        assert names["env"].unwrapped.settings == {"split": 1, "not-a-name": 2, "class": 3}
    finally:
        del gym.registry["Nested-v0"]


def test_a_card_has_the_returns_of_an_evaluation(module, config, exported, tmp_path):
    results = evaluate(exported, episodes=2, progress=False)
    folder = export_agent(
        module, config, tmp_path / "it", algorithm="SaCCM", progress={"episode_return_mean": -9.0}, evaluation=results
    )
    card = (folder / "README.md").read_text()
    means = results.summary().set_index("split")["return"]
    for split, tasks in (("train", 4), ("moderate", 4), ("extreme", 2)):
        assert f"\n| {split} | {tasks} | {means[split]:,.2f} |\n" in card
    assert "2 episodes of each, without exploration; `rllib evaluate . --episodes 2` plays the same ones" in card
    assert "Return in training" not in card


def test_a_card_of_an_environment_that_gymnasium_does_not_know(module, config, tmp_path):
    config.environment("mine.Env", env_config={})
    export_agent(module, config, tmp_path / "it", algorithm="SaCCM")
    assert "env = ...  # mine.Env, as in training" in block_of(tmp_path / "it", "python")
    assert block_of(tmp_path / "it", "sh") == "rllib evaluate . --env mine:Env\n"
    with pytest.raises(ValueError, match=r"trained on 'mine.Env', which is not registered here.*: --env mine:Env \("):
        evaluate(tmp_path / "it", progress=False)


@pytest.mark.parametrize(
    ("env", "option"),
    [
        ("my.envs.Wind", " --env my.envs:Wind"),
        ("SaMI/Ant-v0", ""),
        ("mine:Small/Point-v0", ""),
        ("Wind", ""),
        ("my envs.Wind; rm", ""),
        (None, ""),
    ],
)
def test_a_dotted_path_is_what_evaluate_has_to_be_told(env, option):
    assert env_option(env) == option


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
    ("name", "settings", "reason"),
    [
        ("Reuse/LowLevel-v0", {"body": "subprocess.getoutput", "touch {}": 1}, "'subprocess.getoutput', which is not"),
        ("Reuse/Striding-v0", {"toy": "{}", "low_level": "{}"}, "toy='{}', which is no exported agent"),
        ("Reuse/LowLevel-v0", {"body": "Reuse/PointMass-v0", "high_level": ["{}"]}, "high_level="),
        ("Skills/Control-v0", {"env": "Reuse/PointMass-v0", "env_config": {"body": "os.system"}}, "'os.system'"),
        *[
            ("Skills/Control-v0", {"env": "Reuse/PointMass-v0", "env_config": inner}, reason)
            for inner, reason in (
                ({"env": "os.system"}, "env='os.system', which is not registered"),
                ({"skills": "{}"}, "skills='{}', which is no exported"),
                ({"env_config": {"low_level": "{}"}}, "low_level='{}', which is no exported"),
            )
        ],
        (
            "Reuse/LowLevel-v0",
            {"body": "Skills/Control-v0", "env": "Reuse/Toy-v0"},
            "'Skills/Control-v0', which is made",
        ),
        ("Skills/Control-v0", {"env": "Reuse/PointMass-v0", "skills": "{}"}, "skills='{}', which is no exported"),
    ],
)
def test_what_an_environment_is_made_of_runs_no_code_either(exported, tmp_path, name, settings, reason):
    sign = str(tmp_path / "sign")
    settings = json.loads(json.dumps(settings).replace("{}", sign))
    change(exported, environment={"name": name, "config": settings})
    agent = load_exported(exported)
    assert (agent.config.env, agent.config.env_config, agent.trained_on) == (None, {}, name)
    assert reason.replace("{}", sign) in agent.refused()
    with pytest.raises(ValueError, match=r"could run code.*give them yourself: --env-config"):
        evaluate(exported, episodes=1)
    with pytest.raises(ValueError, match="could run code"):
        checkpoint_of("Reuse/Striding-v0", "low_level", str(exported), name)
    checkpoint_of("Reuse/HighLevel-v0", "striding", str(exported), name)  # of which only the networks are read
    assert not Path(sign).exists()


def test_what_an_environment_is_made_of_may_be_data(exported):
    for name, config in (
        ("Reuse/LowLevel-v0", {"body": "Reuse/PointMass-v0"}),
        ("Reuse/Striding-v0", {"toy": str(exported), "low_level": str(exported)}),
        ("Skills/Control-v0", {"env": "Reuse/PointMass-v0", "skills": str(exported)}),
        ("SaMI/Pendulum-v0", {"body": "mine"}),
    ):
        change(exported, environment={"name": name, "config": config})
        agent = load_exported(exported)
        assert (agent.config.env, agent.config.env_config, agent.refused()) == (name, config, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 9}, "its format 9 is of a newer version"),
        ({"network": {"evil": 1}}, r"`network` has the keys \['evil'\]"),
        ({"action_space": {"low": [0]}}, "KeyError"),
        ({"environment": 3}, "TypeError"),
        ({"environment": {"name": "SaMI/Pendulum-v0", "config": None}}, "its `config` is None"),
        ({"progress": None}, "its `progress` is None"),
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


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "manifest.json"])
def test_a_file_that_is_not_as_it_was_written_is_refused(exported, name):
    (exported / "README.md").write_text("a card of one's own")
    load_exported(exported)
    content = bytearray((exported / name).read_bytes())
    content[-3] ^= 1
    (exported / name).write_bytes(content[:-2] if name == "manifest.json" else content)
    with pytest.raises(ValueError, match=f"exported agent .* is damaged: {name} .*delete manifest.json"):
        load_exported(exported)
    if name == "model.safetensors":
        (exported / "manifest.json").unlink()  # as earlier versions wrote none
        load_exported(exported).module()


def test_an_agent_with_code_of_its_own_is_not_exported(module, config, tmp_path):
    module.__class__ = type("Mine", (SaMITorchRLModule,), {})
    with pytest.raises(
        ValueError,
        match="Only a NeuralProcessTorchRLModule or SACTorchRLModule or SPiRLTorchRLModule or SaMITorchRLModule or "
        "SkillModelTorchRLModule or SkillTaskTorchRLModule or SkillTorchRLModule or TDMPCTorchRLModule or "
        "TaskInferenceTorchRLModule "
        "can be exported, but this agent's is a Mine",
    ):
        export_agent(module, config, tmp_path / "it", algorithm="SaCCM")
    assert list(tmp_path.iterdir()) == []


def test_bad_input(refused, tmp_path):
    assert "no such folder" in refused("export", "nowhere", "--out", "it")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    assert "there is something else in this folder" in refused("export", "nowhere", "--out", "notes")


def test_the_card_of_an_agent_without_context_speaks_of_none():
    models = Path(__file__).parents[2] / "models"
    for name, words in (("low_level_half_cheetah", []), ("saccm_pendulum", ["agent.context", "skill-aware"])):
        content = json.loads((models / name / "config.json").read_text())
        card = model_card(content, {"acting.actor": 3})
        assert [word for word in ("agent.context", "skill-aware") if word in card] == words
