"""The text that tells people what an exported agent is."""

from typing import Any

_ABOUT = {  # with an encoder?
    True: "A recurrent encoder turns the episode so far into a context, an actor acts on observation and context.",
    False: "An actor acts on the observation alone.",
}
_CARD = """---
library_name: rllib-sami
tags: [reinforcement-learning, meta-reinforcement-learning, skill-aware-mutual-information]
---

# {algorithm} on {environment}

| | |
|---|---|
{facts}

{about}

## Use

```sh
rllib evaluate DIR
```

```python
from rllib_sami.export import load_exported

module = load_exported("DIR").module()
state = module.get_initial_state()  # of one episode; add a batch axis
out = module.forward_inference({{"obs": obs, "state_in": state}})
out["actions_for_env"], out["state_out"]
```

The weights (`model.safetensors`) and settings (`config.json`) are data: loading them runs no code of theirs. There is
nothing here to train on; that takes the checkpoint.

## Training

{training}
"""


def model_card(content: dict[str, Any], sizes: dict[str, int]) -> str:
    """Returns the model card.

    Args:
        content: What ``config.json`` holds.
        sizes: Numbers in each of the weights.
    """
    progress, environment = content["progress"], content["environment"]
    mean = progress.get("episode_return_mean")
    facts = {
        "Algorithm": content["algorithm"],
        "Environment": f"`{environment['name']}`",
        "Environment's settings": f"`{environment['config']}`" if environment["config"] else "its defaults",
        "Environment steps": _number(progress.get("num_env_steps_sampled_lifetime")),
        "Iterations": _number(progress.get("training_iteration")),
        "Return in training, mean of the last episodes": "not known" if mean is None else f"{mean:,.2f}",
        "Observation, action": f"{content['observation_space']['shape']}, {content['action_space']['shape']}",
        "Weights": _number(sum(sizes.values())),
        "Written by": content["package"],
    }
    command = content["command"]
    training = f"```sh\n{command}\n```\n\n" if command else ""
    return _CARD.format(
        algorithm=content["algorithm"],
        environment=environment["name"],
        facts="\n".join(f"| {name} | {value} |" for name, value in facts.items()),
        about=f"{_ABOUT[content['network']['context_dim'] > 0]} "
        "Returns in training are of the tasks it was trained on, with exploration; `rllib evaluate` plays others too.",
        training=f"{training}All settings: `training` in `config.json`.",
    )


def _number(value: Any) -> str:
    return "not known" if value is None else f"{value:,}"
