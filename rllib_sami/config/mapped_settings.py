"""Translates settings of other algorithms, RLlib's or this package's, into those of a config."""

from collections.abc import Iterator, Mapping
from typing import Any

from rllib_sami import compat
from rllib_sami.config.family_settings import FAMILY
from rllib_sami.config.names import refuse
from rllib_sami.config.rllib_settings import IDLE, MAPPED, MODEL, TABLE, USED, no_effect, refusal, rows
from rllib_sami.config.unused_settings import readers, warn_once, warn_without_effect
from rllib_sami.core.text import nearest_hint, nearest_name

_RATES = {"actor_learning_rate": "actor_lr", "critic_learning_rate": "critic_lr", "entropy_learning_rate": "alpha_lr"}
_ONE_NETWORK = {
    "policy_model_config": "actor_hidden",
    "policy_model": "actor_hidden",
    "q_model_config": "critic_hidden",
    "Q_model": "critic_hidden",
}


def translate(config: Any, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Replaces settings that the config lacks, but other algorithms have.

    Args:
        config: The config, before it is changed.
        given: Settings by name.

    Returns:
        The settings of this config that they stand for, and the settings that need no translation. Values that ask for
        what happens anyway are dropped.

    Raises:
        WrongSettings: Naming the settings that ask for something else.
    """
    mapped: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    mistakes: list[str] = []
    idle: dict[str, dict[str, Any]] = {}  # settings by reason
    table, family = rows(TABLE, readers(config)), rows(FAMILY, readers(config))
    for name, value in given.items():
        row = table.get(name) or family.get(name)
        if row is None or compat.present_name(config, name) in vars(config) or (row.fate == IDLE and name in table):
            rest[name] = value
        elif row.fate == IDLE:
            idle.setdefault(row.text, {})[name] = value
        elif row.fate != MAPPED:
            message = refusal(row, name, value, compat.default_of(name))
            mistakes += [message] if message else []
        elif not isinstance(value, Mapping):
            mistakes.append(f"`{name}` is {value!r}, but must be a dict.")
        elif name in _ONE_NETWORK:
            settings, _, wrong = _read_model(config, name, value)
            mapped |= {key: sizes for key, sizes in settings.items() if key == _ONE_NETWORK[name]}
            mistakes += wrong
        else:
            rates = {key: own for key, own in _RATES.items() if own in config.settings}
            mapped |= {rates[key]: rate for key, rate in value.items() if key in rates}
            mistakes += [f"`{name}` has the key {key!r}, but takes {[*rates]}." for key in value if key not in rates]
    refuse(mistakes)
    warn_without_effect(config, idle)
    return mapped, rest


def adopt(config: Any) -> Iterator[str]:
    """Sets what RLlib's ``model_config``, ``model`` and ``train_batch_size_per_learner`` mean here; yields mistakes.

    These settings are emptied, so that a config says everything once. What they set is remembered, so that they may be
    set again. A module class of the user's own reads ``model_config`` itself.
    """
    defaults = vars(type(config)())
    asked: dict[str, tuple[str, Any]] = {}  # our setting -> which setting asks for which value
    emptied: dict[str, Any] = {}
    old = {key: value for key, value in config.model.items() if value != defaults["model"].get(key, ...)}
    if not issubclass(compat.module_class(config), config.get_default_rl_module_spec().module_class):
        if old:
            yield no_effect("model", old, "Your own module reads `model_config`")
    else:
        for name, given in (("model", old), ("model_config", compat.user_model_config(config))):
            settings, rest, mistakes = _read_model(config, name, given)
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
        return  # nothing is adopted, so that the next check finds the conflict again
    adopted = {key: value for key, (_, value) in asked.items()}
    if adopted:  # otherwise the config may be frozen
        emptied["_adopted"] = config._adopted | adopted
    for key, value in (emptied | adopted).items():
        setattr(config, key, value)


def _read_model(config: Any, name: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Sorts the keys of a model: the settings that they stand for, keys that the module itself reads, and mistakes."""
    table, defaults = rows(MODEL, readers(config)), compat.model_defaults()
    has_own_module = compat.module_class(config) is not config.get_default_rl_module_spec().module_class
    settings: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    mistakes: list[str] = []
    if given.get("use_lstm") is False:  # then its size and inputs say nothing
        given = {key: value for key, value in given.items() if key not in ("lstm_cell_size", "lstm_use_prev_reward")}
    for key, value in given.items():
        row = table.get(key)
        if row is None and key in config._model_config_auto_includes:
            mistakes.append(f"`{name}` has the key {key!r}, which is a setting of its own: `training({key}=...)`.")
        elif row is None and not has_own_module and nearest_name(key, table):
            mistakes.append(f"`{name}` has the key {key!r}, which nothing reads{nearest_hint(key, table)}")
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
            sizes: Any = hidden
            if hidden is None:  # the head is added to the layers without those that this function has set before
                adopted = config._adopted.get(key) == getattr(config, key)
                sizes = getattr(type(config)() if adopted else config, key)
            are_lists = isinstance(sizes, list | tuple) and isinstance(head, list | tuple)
            settings[key] = [*sizes, *head] if are_lists else sizes  # anything else is refused with the setting
    if given.get("conv_filters") and table["conv_filters"].fate == MAPPED:
        settings["conv_filters"] = given["conv_filters"]
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
    if given.get("lstm_use_prev_reward") and "encoder_reward" in config.settings:
        settings["encoder_reward"] = True
    return settings, rest, mistakes
