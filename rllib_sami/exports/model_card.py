"""The model card: the text that describes an exported agent."""

from keyword import iskeyword
from typing import Any

import gymnasium as gym
import yaml

from rllib_sami.exports.composed import agents_of, evaluate_options

# What an agent acts on besides the observation.
NOTHING, CONTEXT, LATENT, SKILL = "nothing", "context", "latent", "skill"
SKILL_OF_DATA, CHOSEN_SKILL, MODEL = "skill of data", "chosen skill", "model"
_ABOUT = {
    NOTHING: "An actor acts on the observation alone.",
    CONTEXT: "A recurrent encoder turns the episode so far into a context, an actor acts on observation and context.",
    LATENT: "An encoder infers a latent of the task, {latent_dim} numbers, from the last {window} transitions, and an "
    "actor acts on observation and latent. The encoder has learned to predict.",
    SKILL: "An actor acts on the observation and a skill, {skill_dim} numbers that are drawn for each episode. The "
    "skills were learned without a reward, with {method}.",
    SKILL_OF_DATA: "Skills that were learned from data: a policy acts on the observation and a skill, {skill_dim} "
    "numbers, for {skill_length} steps; a prior draws the skills, and dynamics predict what they lead to. An agent of "
    "`Skills/Control-v0` chooses them for a task: `env_config: {{env: ..., skills: PATH_OF_THIS_FOLDER}}`.",
    CHOSEN_SKILL: "A policy chooses skills of {skill_length} steps that were learned from data.",
    MODEL: "A policy with a model of latent states (`planner: {planner}`).",
}
_CARD = """---
library_name: rllib-sami
tags: [{tags}]
---

# {algorithm} on {environment}

{about}

| | |
|---|---|
{facts}

{returns}## Use

In this folder:

```sh
rllib evaluate .{options}
```

or, in a loop of your own:

```python
import gymnasium

import rllib_sami

agent = rllib_sami.load(".")
{env}
obs, info = env.reset(seed=0)
reward, total, done = 0.0, 0.0, False
while not done:
    obs, reward, terminated, truncated, info = env.step({act})
    total, done = total + reward, terminated or truncated
print(f"return {{total:.1f}}")
```

{state}

The weights (`model.safetensors`) and settings (`config.json`) are data: loading them runs no code. Training can only
continue from the checkpoint.

## Training

{training}
"""
_TAGS = {
    NOTHING: "reinforcement-learning",
    CONTEXT: "reinforcement-learning, meta-reinforcement-learning, skill-aware-mutual-information",
    LATENT: "reinforcement-learning, meta-reinforcement-learning, task-inference",
    SKILL: "reinforcement-learning, unsupervised-skill-discovery",
    SKILL_OF_DATA: "reinforcement-learning, offline-reinforcement-learning, skills",
    CHOSEN_SKILL: "reinforcement-learning, hierarchical-reinforcement-learning, skills",
    MODEL: "reinforcement-learning, model-based-reinforcement-learning",
}
_NEXT_CONTEXT = "`agent.reset()` starts the next episode; `agent.context` is the encoder's context of the current one."
_NEXT_EPISODE = "`agent.reset()` starts the next episode."
_NEXT = {
    **dict.fromkeys([NOTHING, MODEL], _NEXT_EPISODE),
    SKILL_OF_DATA: f"{_NEXT_EPISODE[:-1]} with skills of the prior; `agent.reset(skill=...)` plays that one until the "
    "next reset. `agent.skill` is the current one.",
    CHOSEN_SKILL: f"{_NEXT_EPISODE} In a loop of the task itself, whose steps are single actions, load the agent with "
    '`rllib_sami.load(".", primitive_actions=True)`.',
    CONTEXT: _NEXT_CONTEXT,
    LATENT: _NEXT_CONTEXT,
    SKILL: "`agent.reset()` starts the next episode with another skill, `agent.reset(skill=...)` with that one; "
    "`agent.skill` is the current one.",
}
_EXPERIMENT = """{place}`rllib train file FILE` trains such an agent, with this as FILE (any name that ends in `.yaml`):

```yaml
{experiment}```
{left_out}
All other settings have the defaults of {package}; `training` in `config.json` has all of them."""
_NO_EXPERIMENT = (
    "`rllib train file` trains no {algorithm}, whose class cannot be imported by a path; `training` in `config.json` "
    "has all settings."
)


def model_card(content: dict[str, Any], sizes: dict[str, int]) -> str:
    """Returns the model card.

    Args:
        content: Content of ``config.json``.
        sizes: Number of elements of each weight.
    """
    progress, environment, evaluation = content["progress"], content["environment"], content["evaluation"]
    facts = {
        "Environment steps": _number(progress.get("num_env_steps_sampled_lifetime")),
        "Iterations": _number(progress.get("training_iteration")),
        "Observation, action": f"{content['observation_space']['shape']}, {content['action_space']['shape']}",
        "Weights": _number(sum(sizes.values())),
        "Written by": content["package"],
    }
    mean = progress.get("episode_return_mean")
    if evaluation is None and mean is not None:
        facts["Return in training"] = (
            f"{mean:,.2f}: mean of the last training episodes, which had exploration noise. `rllib evaluate .` shows "
            "how the agent does now"
        )
    network = content["network"]
    kind = kind_of(network)
    reads_rewards = network.get("encoder_reward") or kind == LATENT
    return _CARD.format(
        algorithm=content["algorithm"],
        environment=environment["name"],
        about=_about(network),
        tags=_TAGS[kind],
        facts="\n".join(f"| {name} | {value} |" for name, value in facts.items()),
        options=evaluate_options(environment["name"], environment["config"], lambda path: True),
        returns=_skills(content["skills"]) if content.get("skills") else _returns(evaluation) if evaluation else "",
        env=_make_env(environment["name"], environment["config"]),
        act="agent.act(obs, reward)" if reads_rewards else "agent.act(obs)",
        state=_NEXT[kind],
        training=_training(content),
    )


def kind_of(network: dict[str, Any]) -> str:
    """Returns what an agent acts on besides the observation, read from the settings of its networks."""
    if "method" in network:
        return SKILL
    if "latent_dim" in network:
        return LATENT
    if "skill_length" in network:
        return CHOSEN_SKILL if {"planner", "critic_hidden"} & set(network) else SKILL_OF_DATA
    if "planner" in network:
        return MODEL
    return CONTEXT if network.get("context_dim") else NOTHING


def _about(network: dict[str, Any]) -> str:
    """Returns what the agent is, in a sentence."""
    return _ABOUT[kind_of(network)].format(**network)


def _training(content: dict[str, Any]) -> str:
    """Returns how to train such an agent."""
    if content["experiment"] is None:
        return _NO_EXPERIMENT.format(algorithm=content["algorithm"])
    names = ", ".join(f"`{name}`" for name in content["not_in_experiment"])
    environment = content["environment"]
    return _EXPERIMENT.format(
        place="In this folder, " if agents_of(environment["name"], environment["config"]) else "",
        experiment=yaml.safe_dump(content["experiment"], sort_keys=False, default_flow_style=None, width=100),
        left_out=f"\nLeft out, since a file cannot give it: {names}.\n" if names else "",
        package=content["package"],
    )


def _skills(skills: dict[str, Any]) -> str:
    """Returns the section on what the skills cover, and on the goals that they reach."""
    lines = [f"{skills['skills']} skills"]
    if skills.get("state_coverage") is not None:
        lines[0] += (
            f" cover {skills['state_coverage']:,.0f} cells of space, {skills['end_distance']:,.1f} from start to end"
        )
    if skills.get("goals"):
        lines.append(f"{skills['success_rate']:.0%} of {skills['goals']} goals are reached, zero-shot, and "
                     f"{skills['staying_time']:.0%} of the time is spent near them")  # fmt: skip
    figure = f"![Paths of the skills]({skills['figure']})\n\n" if skills.get("figure") else ""
    return f"## Skills\n\n{figure}{'. '.join(lines)}. `rllib evaluate .` plays the same ones.\n\n"


def _returns(evaluation: dict[str, Any]) -> str:
    """Returns the section with the returns of each split."""
    splits, episodes = evaluation["splits"], evaluation["episodes_per_task"]
    names = ["tasks", "return", *["success"] * any(row["success"] is not None for row in splits.values())]
    formats = {"tasks": "{}", "return": "{:,.2f}", "success": "{:.2f}"}
    lines = [["split", *names], ["---", *["---:"] * len(names)]]
    for split, row in splits.items():
        lines.append([split, *("-" if row[name] is None else formats[name].format(row[name]) for name in names)])
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    each = f"{episodes} episode{'s' * (episodes > 1)} of each"
    return (
        f"## Returns\n\n{table}\n\nMeans over tasks, {each}, without exploration; "
        f"`rllib evaluate . --episodes {episodes}` plays the same ones.\n\n"
    )


def _make_env(name: str, config: dict[str, Any]) -> str:
    """Returns the line that makes the environment of training."""
    if ":" not in name and name not in gym.registry:
        return f"env = ...  # {name}, as in training"
    named = {key: value for key, value in config.items() if key.isidentifier() and not iskeyword(key)}
    others = {key: value for key, value in config.items() if key not in named}
    arguments = "".join(f", {key}={value!r}" for key, value in named.items()) + (f", **{others!r}" if others else "")
    return f'env = gymnasium.make("{name}"{arguments})'


def _number(value: Any) -> str:
    return "not known" if value is None else f"{value:,}"
