"""The fast ways of an update compute what the plain ones do, and on the device where the networks are.

Other pairs of a fast and a plain way have their tests elsewhere: one step of the encoder and a pass over the sequence
in ``test_context_encoder.py`` and ``adapters/test_runner_parity.py``, acting in numpy and in torch in
``test_acting.py``, vectorised and single environments in ``envs/test_env_vector.py``.
"""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from core_helpers import as_tensors, constants, make_agent, optimization, random_store
from torch.utils._python_dispatch import TorchDispatchMode
from update_helpers import SAMPLING

from rllib_sami.algorithms.sami.sampling import sample_updates
from rllib_sami.algorithms.sami.update import SaMILossFunctions as LossFunctions
from rllib_sami.algorithms.sami.update import parameter_groups
from rllib_sami.algorithms.sami.update import sami_update as update
from rllib_sami.core import losses
from rllib_sami.core.compilation import compiled
from rllib_sami.core.networks import TwinCritics

OBS, ACTIONS = 3, 2
CONFIG = constants(contrast_coeff=0.3, target_entropy=-2.0, similarity="bilinear", return_gap_weight=True)


def make_batch(sampling=SAMPLING, seed=0, **store):
    rng = np.random.default_rng(seed)
    return as_tensors(sample_updates(random_store(rng, **store), sampling, 1, rng))


def parameters(agent) -> list[torch.Tensor]:
    return [*agent[0].parameters(), *agent[1].parameters()]


def to_device(agent, batch, device, optimizer=torch.optim.Adam):
    """Both on another device, with new optimisers."""
    acting, training = (copy.deepcopy(module).to(device) for module in agent[:2])
    return (acting, training, optimization(acting, training, kind=optimizer)), {
        name: values.to(device) for name, values in batch.items()
    }


# --- loss_timesteps = None ------------------------------------------------------------------------------------------


def test_all_steps_give_the_gradients_of_whole_episodes_read_one_by_one():
    config = constants(gamma=0.9)
    batch = make_batch(replace(SAMPLING, pairing=None, loss_timesteps=None))
    num_rows, now = batch["rows"].shape[1], batch["step_index"]
    agent = make_agent()
    with torch.no_grad():
        for parameter in [*agent[1].target_critics.parameters(), *agent[1].key_encoder.parameters()]:
            parameter += 0.1 * torch.randn_like(parameter)
    acting, training, _ = before = copy.deepcopy(agent)
    update(*agent, batch, config)

    alpha = training.log_alpha.exp().detach()
    critic_loss, actor_loss = 0.0, 0.0
    lengths = []
    for number, rows in enumerate(batch["rows"]):
        steps = (now // num_rows == number).nonzero()[:, 0]  # in their order, each once
        length = len(steps)
        lengths.append(length)
        assert (now[steps] % num_rows).tolist() == list(range(length))
        rows = rows[: length + 1]  # no padding
        obs, action, reward = rows[:, :OBS], rows[1:, OBS:-1], rows[1:, -1]
        context, key_context = (encoder(rows[None, :, :-1])[0] for encoder in (acting.encoder, training.key_encoder))
        next_noise, actor_noise = batch["noise"][:, steps]
        with torch.no_grad():
            next_action, next_log_prob = acting.actor.sample(obs[1:], context[1:], next_noise)
            next_q = training.target_critics(obs[1:], next_action, key_context[1:])
            value = losses.soft_value(next_q, next_log_prob, alpha)
            target = losses.td_target(reward, batch["terminated"][steps], value, config.gamma)
        q = training.critics(obs[:-1], action, context[:-1])
        critic_loss = critic_loss + length * losses.critic_loss(q, target)
        # The actor learns from the critics that were just trained.
        new_action, log_prob = acting.actor.sample(obs[:-1], context[:-1].detach(), actor_noise)
        q = agent[1].critics(obs[:-1], new_action, context[:-1].detach())
        actor_loss = actor_loss + length * losses.actor_loss(q, log_prob, alpha)
    assert len(set(lengths)) > 1
    assert sum(lengths) == len(now)

    for names, loss in ((("encoder", "critic"), critic_loss), (("actor",), actor_loss)):
        groups, updated = parameter_groups(*before[:2]), parameter_groups(*agent[:2])
        wanted = [parameter for name in names for parameter in groups[name]]
        expected = torch.autograd.grad(loss / len(now), wanted, allow_unused=True, materialize_grads=True)
        got = [parameter.grad for name in names for parameter in updated[name]]
        assert max(gradient.abs().max() for gradient in expected) > 1e-2
        for mine, theirs in zip(got, expected, strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)


def test_the_order_of_steps_changes_nothing():
    batch = make_batch(replace(SAMPLING, loss_timesteps=None))
    order = torch.randperm(len(batch["step_index"]))
    other = batch | {name: batch[name][order] for name in ("step_index", "terminated")}
    other["noise"] = batch["noise"][:, order]
    first, second = make_agent(), make_agent()
    update(*first, batch, CONFIG)
    update(*second, other, CONFIG)
    for mine, theirs in zip(parameters(first), parameters(second), strict=True):
        if mine.grad is not None:
            torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-6, rtol=1e-4)


# --- Compiled -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_compiled_equals_eager_and_longer_episodes_compile_nothing_anew():
    torch._dynamo.utils.counters.clear()
    fast_functions = compiled(LossFunctions())
    batches = [make_batch(seed=seed, lengths=np.array([9, 5, 7, 8, 6, 9, 4, 5]) + seed) for seed in range(3)]
    assert len({batch["rows"].shape for batch in batches}) == 3
    first, second = make_agent(), make_agent()
    for number, batch in enumerate(batches):
        constants = replace(CONFIG, target_entropy=-1.0 - number)  # as of a schedule
        plain = update(*first, batch, constants)
        fast = update(*second, batch, constants, loss_functions=fast_functions)
        assert plain.keys() == fast.keys()
        for name in plain:
            torch.testing.assert_close(fast[name], plain[name], atol=1e-5, rtol=1e-4, msg=name)
    for mine, theirs in zip(parameters(first), parameters(second), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-3)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 3
    assert not torch._dynamo.utils.counters["graph_break"]


# --- bfloat16 -------------------------------------------------------------------------------------------------------


def test_mixed_precision_touches_hidden_layers_of_actor_and_critics_alone():
    batch = make_batch()
    plain = update(*make_agent(), batch, CONFIG)
    seen = {}

    class Recorder(LossFunctions):
        """Notes what the loss functions give."""

        def __getattribute__(self, name):
            function = super().__getattribute__(name)

            def noted(*arguments):
                seen[name] = function(*arguments)
                return seen[name]

            return noted if name in ("critics", "contrast", "actor") else function

    agent = make_agent()
    mixed = update(*agent, batch, replace(CONFIG, mixed_precision=True), loss_functions=Recorder())
    for name in ("sance_bound", "contrast_loss", "context_std"):  # before any other network has moved
        assert mixed[name] == plain[name]
    for name in ("critic_loss", "q_mean", "actor_loss", "entropy"):
        assert mixed[name] != plain[name]
        torch.testing.assert_close(mixed[name], plain[name], atol=3e-2, rtol=3e-2, msg=name)
    assert seen["critics"][0].dtype == seen["actor"][1].dtype == seen["contrast"][0].dtype == torch.float32
    assert all(value.dtype == torch.float32 for value in mixed.values())
    assert all(parameter.dtype == torch.float32 for parameter in parameters(agent))


@pytest.mark.parametrize("hidden", [[8], []])
def test_values_keep_full_precision_in_the_last_layer(hidden):
    critics = TwinCritics(3, hidden)
    with torch.no_grad():
        for net in critics.nets:
            net[-1].bias.fill_(1000.5)  # bfloat16 would make it 1000
            net[-1].weight.zero_()
    with torch.autocast("cpu", torch.bfloat16):
        q = critics(*torch.zeros(3, 2, 1))
    assert q.dtype == torch.float32
    assert (q == 1000.5).all()


# --- Devices --------------------------------------------------------------------------------------------------------


class OnlyOn(TorchDispatchMode):
    """Fails where an operation makes a tensor on another device."""

    def __init__(self, device: str):
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for some in result if isinstance(result, list | tuple) else [result]:
            if isinstance(some, torch.Tensor) and some.device.type != self.device:
                raise AssertionError(f"{function} made a tensor on {some.device}.")
        return result


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("objective", ["sance", "binary_nce"])
def test_an_update_stays_on_its_device_and_never_asks_for_a_value(kind, objective):
    """On the meta device no tensor has a value, and mixing it with another device is an error, as on a GPU."""
    agent, batch = to_device(make_agent(encoder_type=kind), make_batch(), "meta", torch.optim.SGD)
    with OnlyOn("meta"):
        metrics = update(*agent, batch, replace(CONFIG, objective=objective))
    assert {value.device.type for value in metrics.values()} == {"meta"}
    with pytest.raises(RuntimeError, match="device"):  # the control: one array left behind
        update(*agent, batch | {"noise": torch.zeros(batch["noise"].shape)}, CONFIG)


gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.fixture
def _full_precision(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("device", [pytest.param("cuda", marks=gpu)])
@pytest.mark.usefixtures("_full_precision")
def test_gpu_equals_cpu(device, kind):
    host, batches = make_agent(encoder_type=kind), [make_batch(seed=seed) for seed in range(3)]
    there, _ = to_device(host, {}, device)
    for batch in batches:
        on_gpu = {name: values.to(device) for name, values in batch.items()}
        expected, got = update(*host, batch, CONFIG), update(*there, on_gpu, CONFIG)
        for name in expected:
            torch.testing.assert_close(got[name].cpu(), expected[name], atol=1e-4, rtol=1e-3, msg=name)
    for mine, theirs in zip(parameters(there), parameters(host), strict=True):
        torch.testing.assert_close(mine.cpu(), theirs, atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("device", [pytest.param("cuda", marks=gpu)])
@pytest.mark.usefixtures("_full_precision")
def test_compiled_equals_eager_on_a_gpu(device, mixed):
    config, functions = replace(CONFIG, mixed_precision=mixed), compiled(LossFunctions())
    first, _ = to_device(make_agent(), {}, device)
    second, _ = to_device(make_agent(), {}, device)
    tolerance = {"atol": 5e-2, "rtol": 5e-2} if mixed else {"atol": 1e-4, "rtol": 1e-3}
    for seed in range(6):  # the first ones warm up and record
        lengths = np.array([9, 5, 7, 8, 6, 9, 4, 5]) + seed
        batch = {name: values.to(device) for name, values in make_batch(seed=seed, lengths=lengths).items()}
        plain = {name: value.item() for name, value in update(*first, batch, config).items()}
        fast = {name: value.item() for name, value in update(*second, batch, config, functions).items()}
        for name in plain:
            assert fast[name] == pytest.approx(plain[name], abs=tolerance["atol"], rel=tolerance["rtol"]), name


@pytest.mark.parametrize("is_compiled", [False, True])
@pytest.mark.parametrize("device", [pytest.param("cuda", marks=gpu)])
def test_an_update_never_waits_for_the_gpu(device, is_compiled):
    functions = compiled(LossFunctions()) if is_compiled else LossFunctions()
    agent, batch = to_device(make_agent(), make_batch(), device, lambda *a, **k: torch.optim.Adam(*a, fused=True, **k))
    for _ in range(4):  # compiling and recording may wait
        update(*agent, batch, CONFIG, functions)
    torch.cuda.set_sync_debug_mode("error")
    try:
        update(*agent, batch, CONFIG, functions)
    finally:
        torch.cuda.set_sync_debug_mode("default")
