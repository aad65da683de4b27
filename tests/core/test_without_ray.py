"""The core and the environments need torch, NumPy and Gymnasium, but no Ray."""

import subprocess
import sys
import textwrap
from pathlib import Path

import rllib_sami

PACKAGE = Path(rllib_sami.__file__).parent
MATHEMATICS = (
    "algorithms/sac/update",
    "algorithms/sami/contrast",
    "hierarchy/latent_action_env",
    "replay_buffers/samplers",
    "algorithms/sami/update",
    "algorithms/sami/sampling",
    "algorithms/skill_discovery/methods",
    "algorithms/skill_discovery/sampling",
    "algorithms/skill_discovery/update",
    "algorithms/task_inference/process",
    "algorithms/task_inference/sampling",
    "algorithms/task_inference/update",
    "replay_buffers/episode_store",
)
MODULES = sorted(
    str(path).removesuffix(".py").replace("/", ".")
    for path in (*(file.relative_to(PACKAGE) for file in PACKAGE.glob("core/*.py")), *MATHEMATICS)
)

SCRIPT = """
import importlib, sys

sys.modules["ray"] = None  # importing it fails from here on
try:
    import ray
except ImportError:
    pass
else:
    raise AssertionError("the block does not work")

import numpy as np
import torch

torch.set_num_threads(1)
import rllib_sami
import rllib_sami.envs

for name in {modules}:
    importlib.import_module("rllib_sami." + name)

import gymnasium
from rllib_sami.algorithms.sami.networks import SaMITrainingNetworks
from rllib_sami.core.networks import ActorNetworks, NetworkConfig
from rllib_sami.core.optimization import Optimization
from rllib_sami.algorithms.sami.sampling import SamplingConfig, sample_updates
from rllib_sami.replay_buffers.episode_store import EpisodePiece, EpisodeStore
from rllib_sami.algorithms.sami.update import UpdateConfig, parameter_groups, sami_update as update

env = gymnasium.make("SaMI/Pendulum-v0", split="train", max_episode_steps=20)
obs_dim, action_dim = env.observation_space.shape[0], env.action_space.shape[0]
store = EpisodeStore(obs_dim, action_dim, 1000)
env.action_space.seed(0)
for number in range(8):
    obs, info = env.reset(seed=number, options={{"task_id": number % 2}})
    seen, actions, rewards, ended = [obs], [], [], False
    while not ended:
        action = env.action_space.sample()
        obs, reward, terminated, truncated, _ = env.step(action)
        seen.append(obs), actions.append(action / env.action_space.high), rewards.append(reward)
        ended = terminated or truncated
    arrays = (np.asarray(some, np.float32) for some in (seen, actions, rewards))
    assert store.add(EpisodePiece(0, info["task_id"], 0, *arrays, done=True, terminated=terminated))

acting = ActorNetworks(obs_dim, action_dim, NetworkConfig(actor_hidden=(32,), critic_hidden=(32,)))
training = SaMITrainingNetworks(acting, 1.0, "online")
groups = parameter_groups(acting, training)
optimizers = {{name: torch.optim.Adam(group, lr=1e-3) for name, group in groups.items()}}
optimization = Optimization(groups, optimizers)
constants = dict(gamma=0.99, target_entropy=-1.0, critics_train_encoder=True, has_contrast=True)
constants |= dict(acting_encoder="online", updates_per_batch=1, contrast_interval=1)
sampling = SamplingConfig(train_episodes=4, loss_timesteps=64, pairing="skill_task", contrast_episodes=8)
before = [p.clone() for p in acting.parameters()]
samples = sample_updates(store, sampling, 20, np.random.default_rng(0))
for number in range(20):
    batch = {{key: torch.as_tensor(value[number]) for key, value in samples.items()}}
    metrics = update(acting, training, optimization, batch, UpdateConfig(**constants))
assert all(torch.isfinite(value) for value in metrics.values()), metrics
assert all((a != b).any() for a, b in zip(before, acting.parameters()))
loaded = [name for name in sys.modules if name.split(".")[0] == "ray" and sys.modules[name] is not None]
assert not loaded, loaded
print("trained without Ray")
"""


def test_core_and_environments_import_and_train_with_ray_absent():
    script = textwrap.dedent(SCRIPT.format(modules=MODULES))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("trained without Ray")
