"""What stock RLlib code says of networks, batches and rates, in the terms of this package."""

from collections.abc import Iterator, Mapping
from typing import Any

from rllib_sami import compat
from rllib_sami.config.family_settings import FAMILY
from rllib_sami.config.names import WrongSettings, nearest
from rllib_sami.config.rllib_settings import IDLE, MAPPED, MODEL, TABLE, USED, no_effect, refusal, rows
from rllib_sami.config.unused_settings import readers, warn_of, warn_once

_RATES = {"actor_learning_rate": "actor_lr", "critic_learning_rate": "critic_lr", "entropy_learning_rate": "alpha_lr"}
_OF_ONE_NETWORK = {
    "policy_model_config": "actor_hidden",
    "policy_model": "actor_hidden",
    "q_model_config": "critic_hidden",
    "Q_model": "critic_hidden",
}


def in_our_terms(config: Any, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings by name, without those that RLlib's algorithms have and this one has not.

    Returns:
        Those of its own that the others set, and the rest. What asks for nothing but what happens anyway is left out.

    Raises:
        WrongSettings: Naming those that ask for something else.
    """
    mapped: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    mistakes: list[str] = []
    idle: dict[str, dict[str, Any]] = {}
    table, family = rows(TABLE, readers(config)), rows(FAMILY, readers(config))
    for name, value in given.items():
        row = table.get(name) or family.get(name)
        if (
            row is None
            or compat.present_name(config, name) in vars(config)
            or (row.fate in (USED, IDLE) and name in table)
        ):
            rest[name] = value
        elif row.fate == IDLE:  # a setting of other algorithms of this package
            idle.setdefault(row.text, {})[name] = value
        elif row.fate != MAPPED:
            message = refusal(row, name, value, compat.default_of(name))
            mistakes += [message] if message else []
        elif not isinstance(value, Mapping):
            mistakes.append(f"`{name}` is {value!r}, but must be a dict.")
        elif name in _OF_ONE_NETWORK:
            settings, _, wrong = _of_model(config, name, value)
            mapped |= {key: sizes for key, sizes in settings.items() if key == _OF_ONE_NETWORK[name]}
            mistakes += wrong
        else:
            mapped |= {_RATES[key]: rate for key, rate in value.items() if key in _RATES}
            mistakes += [f"`{name}` has the key {key!r}, but takes {[*_RATES]}." for key in value if key not in _RATES]
    if mistakes:
        raise WrongSettings(*mistakes)
    warn_of(config, idle)
    return mapped, rest


def adopt(config: Any) -> Iterator[str]:
    """Sets what ``model_config``, ``model`` and ``train_batch_size_per_learner`` mean here; yields what is wrong.

    These are emptied, so that a config says everything once, and what they set is remembered: they may be set again. A
    module of the user's own reads ``model_config`` itself.
    """
    defaults = vars(type(config)())
    asked: dict[str, tuple[str, Any]] = {}  # by name of the field: which setting asks for what
    emptied: dict[str, Any] = {}
    old = compat.changed_model(config, defaults["model"])
    if not compat.has_default_module(config):
        if old:
            yield no_effect("model", old, "A module of your own reads `model_config`")
    else:
        for name, given in (("model", old), ("model_config", compat.user_model_config(config))):
            settings, rest, mistakes = _of_model(config, name, given)
            asked |= {key: (name, value) for key, value in settings.items()}
            emptied |= {"model": defaults["model"] | rest} if name == "model" else {"_model_config": rest}
            yield from mistakes
        emptied = emptied if asked else {}
    batch = getattr(config, "_train_batch_size_per_learner", None)  # RLlib may rename what it keeps private
    if batch is not None and "loss_timesteps" in config.settings:
        asked["loss_timesteps"] = ("train_batch_size_per_learner", batch)
        emptied["_train_batch_size_per_learner"] = None
    conflicts = [
        f"`{name}` asks for {value!r}, but `{key}` is {getattr(config, key)!r}; set one of them."
        for key, (name, value) in asked.items()
        if getattr(config, key) not in (defaults[key], value, config._adopted.get(key, value))
    ]
    yield from conflicts
    if conflicts:
        return  # nothing is taken over, so that the next check says it again
    adopted = {key: value for key, (_, value) in asked.items()}
    if adopted:  # else the config may be frozen
        emptied["_adopted"] = config._adopted | adopted
    for key, value in (emptied | adopted).items():
        setattr(config, key, value)


def _of_model(config: Any, name: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """What a model's keys set here, those that are left to the module itself, and what is wrong with others."""
    table, defaults = rows(MODEL, readers(config)), compat.model_defaults()
    settings: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    mistakes: list[str] = []
    if given.get("use_lstm") is False:  # sizes and inputs of no LSTM
        given = {key: value for key, value in given.items() if key not in ("lstm_cell_size", "lstm_use_prev_reward")}
    for key, value in given.items():
        row = table.get(key)
        if row is None and key in config._model_config_auto_includes:
            mistakes.append(f"`{name}` has the key {key!r}, which is a setting of its own: `training({key}=...)`.")
        elif row is None and not compat.has_custom_module(config) and (hint := nearest(key, table)) != ".":
            mistakes.append(f"`{name}` has the key {key!r}, which nothing reads{hint}")
        elif row is None or row.fate == USED:
            rest[key] = value
        elif message := refusal(row, f"{name}.{key}", value, defaults.get(key)):
            mistakes.append(message)
        elif row.fate == IDLE and value != defaults.get(key):
            warn_once(type(config).__name__, no_effect(f"{name}.{key}", value, row.text), key)
    hidden = given.get("fcnet_hiddens")
    head = given.get("head_fcnet_hiddens") or given.get("post_fcnet_hiddens") or []
    if hidden is not None or head:
        for key in ("actor_hidden", "critic_hidden"):
            settings[key] = _joined(_own(config, key) if hidden is None else hidden, head)
    if given.get("fusionnet_hiddens") and table["fusionnet_hiddens"].fate == MAPPED:
        settings["critic_hidden"] = given["fusionnet_hiddens"]
    if given.get("use_lstm") or "lstm_cell_size" in given:
        if config.trains_memory:
            settings |= {"encoder_type": "lstm"} if given.get("use_lstm") else {}
            settings |= {"encoder_hidden_dim": given["lstm_cell_size"]} if "lstm_cell_size" in given else {}
        else:
            key = "use_lstm" if given.get("use_lstm") else "lstm_cell_size"
            why = "No loss of actor and critics trains a memory: take RecurrentSAC"
            if "context_dim" in config.settings:
                why += ", or set `encoder_hidden_dim` and `encoder_type` of the context encoder, which is recurrent"
            mistakes.append(no_effect(f"{name}.{key}", given[key], why))
    if given.get("lstm_use_prev_reward"):
        settings["encoder_reward"] = True
    return settings, rest, mistakes


def _own(config: Any, key: str) -> Any:
    """The value of a field without what RLlib's settings made of it."""
    value = getattr(config, key)
    return getattr(type(config)(), key) if config._adopted.get(key) == value else value


def _joined(hidden: Any, head: Any) -> Any:
    """The layers of both; what is no list is left to the check of the setting."""
    return [*hidden, *head] if isinstance(hidden, list | tuple) and isinstance(head, list | tuple) else hidden
