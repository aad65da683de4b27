"""What the README shows runs as printed."""

import re
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from rllib_sami import SaCCMConfig
from rllib_sami.rl_module import SaMITorchRLModule

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("encoder_reward", [False, True])
def test_a_trained_module_acts_in_a_loop(tmp_path, encoder_reward):
    [code] = [block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "forward_inference" in block]
    config = SaCCMConfig().training(encoder_reward=encoder_reward)
    spaces = gymnasium.spaces.Box(-np.inf, np.inf, (18,), np.float32), gymnasium.spaces.Box(-1, 1, (6,), np.float32)
    module = SaMITorchRLModule(
        observation_space=spaces[0], action_space=spaces[1], model_config=config.model_config, inference_only=False
    )
    module.save_to_path(tmp_path / "learner_group/learner/rl_module/default_policy")
    names = {"CHECKPOINT": str(tmp_path)}
    exec(code, names)
    assert names["truncated"]
