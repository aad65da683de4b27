"""Modules leave RLlib: traced, exported and as ONNX, with any batch size."""

import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from rllib_sami import (
    NeuralProcessConfig,
    PlainSACConfig,
    SaCCMConfig,
    SaPPOConfig,
    SkiMoConfig,
    SkiMoPretrainConfig,
    SPiRLConfig,
    TaskInferenceConfig,
    TDMPCConfig,
    TESACConfig,
)

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/pipelines.md").read_text(encoding="utf-8")
SPACES = {
    "observation_space": gym.spaces.Box(-np.inf, np.inf, (3,), np.float32),
    "action_space": gym.spaces.Box(-2.0, 2.0, (2,), np.float32),
}


class Flat(torch.nn.Module):
    """One step of acting, tensors in and tensors out."""

    def __init__(self, module, keys):
        super().__init__()
        self.module, self.keys = module, keys

    def forward(self, obs, rewards, *state):
        batch = {"obs": obs, "rewards": rewards, "state_in": dict(zip(self.keys, state, strict=True))}
        out = self.module.forward_inference(batch)
        action = out["actions_for_env"] if "actions_for_env" in out else out["actions"]
        return (action, *(out["state_out"][key] for key in self.keys))


def inputs_of(module, size):
    generator = torch.Generator().manual_seed(size)
    shapes = [(3,), (), *(value.shape for _, value in sorted(module.get_initial_state().items()))]
    return tuple(torch.randn(size, *shape, generator=generator) for shape in shapes)


def module_of(config):
    torch.manual_seed(0)
    module_class = config.get_default_rl_module_spec().module_class
    module = module_class(**SPACES, inference_only=True, model_config=config.model_config)
    return Flat(module.eval(), sorted(module.get_initial_state())).requires_grad_(False)


def guide_block(text):
    [block] = [block for block in re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL) if text in block]
    return block


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (SaCCMConfig, {"encoder_reward": True}),  # LSTM, standardised inputs
        (TESACConfig, {"encoder_type": "gru", "normalize_context": False}),
        (PlainSACConfig, {}),
        (SaPPOConfig, {}),
        (TaskInferenceConfig, {}),
        (TaskInferenceConfig, {"latent_prior": "stick"}),
        (NeuralProcessConfig, {"encoder_layers": 2}),
        (TDMPCConfig, {"planner": "none"}),
        (SkiMoConfig, {"planner": "none"}),
        (SPiRLConfig, {}),
    ],
)
def test_traced_and_exported_modules_act_alike_for_any_batch_size(config, settings):
    flat = module_of(config().training(**settings))
    module, given = flat.module, inputs_of(flat.module, 2)
    batch = torch.export.Dim("batch")
    shapes = ({0: batch}, {0: batch}, *[tuple({0: batch} for _ in flat.keys)] * bool(flat.keys))
    exported = torch.export.export(flat, given, dynamic_shapes=shapes).module()
    traced = torch.jit.trace(flat, given, check_trace=False)
    for size in (1, 2, 7):
        given = inputs_of(module, size)
        wanted = flat(*given)
        assert wanted[0].shape == (size, 2)
        for leaving in (exported, traced):
            for got, want in zip(leaving(*given), wanted, strict=True):
                torch.testing.assert_close(got, want, atol=1e-6, rtol=0)


@pytest.mark.parametrize("config", [SkiMoPretrainConfig, TDMPCConfig, SkiMoConfig])
def test_what_draws_random_numbers_of_its_own_says_that_it_cannot_be_exported(config):
    flat = module_of(config())
    given = inputs_of(flat.module, 2)
    with pytest.raises(NotImplementedError, match="traced or exported"):
        torch.export.export(flat, given)
    with pytest.raises(NotImplementedError, match="traced or exported"):
        torch.jit.trace(flat, given)
    compiled = torch.compile(flat, backend="eager")  # which may leave NumPy as it is
    for got, want in zip(compiled(*given), flat(*given), strict=True):
        torch.testing.assert_close(got, want, atol=1e-5, rtol=0)


@pytest.fixture
def guide_names(tmp_path, monkeypatch):
    """What the guide's block on torch.export leaves behind, its file in the present folder."""
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(guide_block("torch.export.save"), names)
    return names


def batch_of(names, size):
    generator = torch.Generator().manual_seed(size)
    state = {key: torch.randn(size, *value.shape[1:], generator=generator) for key, value in names["state"].items()}
    return torch.randn(size, 3, generator=generator), state


def test_the_export_of_the_guide_runs_as_printed(guide_names):
    program = torch.export.load("agent.pt2").module()
    for size in (1, 5):
        obs, state = batch_of(guide_names, size)
        (action, after), (wanted, wanted_after) = (
            program(obs, state),
            guide_names["Step"](guide_names["module"])(obs, state),
        )
        torch.testing.assert_close(action, wanted, atol=1e-6, rtol=0)
        torch.testing.assert_close(after, wanted_after, atol=1e-6, rtol=0)


def test_the_onnx_of_the_guide_runs_as_printed(guide_names):
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    import onnxruntime

    exec(guide_block("torch.onnx.export"), guide_names)
    session = onnxruntime.InferenceSession("agent.onnx", providers=["CPUExecutionProvider"])
    for size in (1, 5):
        obs, state = batch_of(guide_names, size)
        got = session.run(
            ["action", "next_encoder", "next_previous_action"],
            {key: value.numpy() for key, value in ({"obs": obs} | state).items()},
        )
        action, after = guide_names["Step"](guide_names["module"])(obs, state)
        for one, wanted in zip(got, (action, after["encoder"], after["previous_action"]), strict=True):
            np.testing.assert_allclose(one, wanted.numpy(), atol=1e-5)


def test_the_loop_with_a_module_runs_as_printed(tmp_path):
    code = guide_block("RLModule.from_checkpoint").replace("/path/to/checkpoint_000010", str(tmp_path))
    config = SaCCMConfig()
    module = config.get_default_rl_module_spec().module_class(**SPACES, model_config=config.model_config)
    module.save_to_path(tmp_path / "learner_group/learner/rl_module/default_policy")
    names: dict = {}
    exec(code, names)
    assert names["action"].shape == (1, 2)
    assert names["state"]["encoder"].abs().sum() > 0
