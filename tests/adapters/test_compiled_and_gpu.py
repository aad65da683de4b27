"""Compiled updates, mixed precision and learning on a GPU, through the algorithm."""

import numpy as np
import pytest
import torch

from rllib_sami import SaCCM
from rllib_sami.algorithms.base import array_config
from rllib_sami.core.precision import fast_bfloat16

from .tiny import refusal, tiny, weights_of

pytestmark = pytest.mark.usefixtures("ray_cluster")


def trained(iterations=2, **training):
    """An algorithm after some iterations, and the last result."""
    algo = tiny(num_steps_sampled_before_learning_starts=60, **training).build_algo()
    result = {}
    for _ in range(iterations):
        result = algo.train()
    return algo, result["learners"]["default_policy"]


def test_without_a_compiler_the_setting_is_refused(monkeypatch):
    tried = []

    def fails(device):
        tried.append(device)
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found")

    monkeypatch.setattr(array_config, "check_compilation", fails)
    message = refusal(tiny(compile_update=True))
    assert message.startswith("`compile_update` is True, but torch.compile does not work here (InvalidCxxCompiler: No")
    assert message.endswith("or set `compile_update` to False.")
    tiny().build_algo().stop()  # nothing is tried
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ValueError, match="does not work here"):
        tiny(compile_update=True).learners(num_gpus_per_learner=1).check_machine()
    assert tried == ["cpu", "cuda"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_before_anything_starts():
    message = refusal(tiny().learners(num_gpus_per_learner=1))
    assert message.startswith("`num_gpus_per_learner` is 1, but torch 2")
    assert message.endswith("or set `num_gpus_per_learner` to 0.")


@pytest.mark.slow
def test_the_trial_names_what_is_missing(fresh_python):
    code = """
import os
os.environ["CXX"] = "/nowhere/g++"
from rllib_sami.core.compilation import check_compilation
try:
    check_compilation()
except RuntimeError as error:
    print(error)
"""
    assert "InvalidCxxCompiler: No working C++ compiler" in fresh_python(code)


@pytest.mark.slow
@pytest.mark.parametrize("batches", [{}, {"updates_per_batch": 4, "contrast_interval": 2}], ids=["one", "four"])
def test_a_compiled_run_is_the_eager_one(batches):
    results = {}
    for is_compiled in (False, True):
        algo, learned = trained(compile_update=is_compiled, **batches)
        results[is_compiled] = (weights_of(algo), learned)
        algo.stop()
    weights, learned = results[False]
    fast_weights, fast_learned = results[True]
    # Rounding differs and training amplifies it, but not within so few updates.
    for name, value in weights.items():
        np.testing.assert_allclose(fast_weights[name], value, atol=2e-3, err_msg=name)
    assert fast_learned["critic_loss"] == pytest.approx(learned["critic_loss"], rel=1e-2)
    assert fast_learned["num_updates_lifetime"] == learned["num_updates_lifetime"] > 5


def test_mixed_precision_on_a_cpu_without_bfloat16_is_refused(monkeypatch):
    config = tiny(mixed_precision=True)
    monkeypatch.setattr("rllib_sami.algorithms.base.array_config.fast_bfloat16", lambda: True)
    config.check_machine()
    monkeypatch.setattr("rllib_sami.algorithms.base.array_config.fast_bfloat16", lambda: False)
    with pytest.raises(ValueError, match="`mixed_precision` is True, but this CPU does not compute in bfloat16"):
        config.check_machine()
    tiny(mixed_precision=False).check_machine()


@pytest.mark.skipif(not fast_bfloat16(), reason="needs a CPU with bfloat16")
def test_mixed_precision_reaches_the_update():
    losses = {}
    for mixed in (False, True):
        algo, learned = trained(iterations=1, mixed_precision=mixed)
        losses[mixed] = learned["critic_loss"]
        algo.stop()
    assert losses[True] != losses[False]
    assert losses[True] == pytest.approx(losses[False], rel=5e-2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("is_compiled", [False, True])
def test_training_on_a_gpu_and_going_on_from_its_checkpoint(is_compiled, tmp_path):
    config = tiny(num_steps_sampled_before_learning_starts=60, compile_update=is_compiled)
    algo = config.learners(num_gpus_per_learner=1).build_algo()
    algo.train()
    learner = algo.learner_group._learner
    module = learner.module["default_policy"]
    tensors = [*module.parameters(), *module.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"cuda"}
    acting = algo.env_runner.module.acting
    assert next(acting.parameters()).device.type == "cpu"
    for ours, theirs in zip(acting.parameters(), module.acting.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs.cpu(), atol=0, rtol=0)  # the runner acts with what was learned
    algo.save_to_path(str(tmp_path / "checkpoint"))
    algo.stop()

    restored = SaCCM.from_checkpoint(str(tmp_path / "checkpoint"))
    learned = restored.train()["learners"]["default_policy"]
    assert all(np.isfinite(learned[name]) for name in ("critic_loss", "actor_loss", "sance_bound"))
    for name in ("encoder", "critic", "actor", "alpha"):
        for state in restored.learner_group._learner.get_optimizer("default_policy", name).state.values():
            assert {tensor.device.type for tensor in state.values()} == {"cuda"}
    restored.stop()
