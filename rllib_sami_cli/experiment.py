"""From files and options to experiments: loading, inheritance, merging, overrides."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rllib_sami_cli.errors import Mistakes, UserError, one_line
from rllib_sami_cli.spaces import is_space

# What an experiment of a file may contain, as in RLlib's historic form -> its type.
EXPERIMENT_KEYS: dict[str, Any] = {
    "run": Any,  # the algorithm: a registered name or a class path
    "env": Any,  # the environment: an id, or a search space of ids
    "config": dict,  # the algorithm's settings
    "stop": dict,  # result metric -> value that ends the run
    "checkpoint_config": dict,  # fields of ray.tune.CheckpointConfig
    "num_samples": int,  # how often each point of the search space is tried
    "search": dict,  # how trials are compared, proposed and ended early: metric, mode, algorithm, scheduler
    "max_failures": int,  # how often a failed trial starts again from its last checkpoint
    "time_budget_s": float | None,  # wall-clock limit
    "storage_path": str | None,  # folder of the results
    "restore": str | None,  # checkpoint to start from
    "extends": Any,  # file or files to inherit from
}
# Keys of older files -> names in `checkpoint_config`.
_MOVED_KEYS = {
    "checkpoint_freq": "checkpoint_frequency",
    "checkpoint_at_end": "checkpoint_at_end",
    "keep_checkpoints_num": "num_to_keep",
    "checkpoint_score_attr": "checkpoint_score_attribute",
}


@dataclass
class Experiment:
    """One experiment as the user wrote it, merged but not yet checked.

    Attributes:
        name: Its name, which is also the name of its results folder.
        body: What stands under the name: `run`, `env`, `config`, `stop`, ...
        source: The file (or "command line"), for messages.
        config_object: An `AlgorithmConfig`, if a Python file gave one; then `body["config"]` holds overrides only.
        given: What the command line sets, in the form of a body, to lay over it.
        given_to: The same of all stages of the command line, by stage.
        stage: The name in the file, by which later experiments refer to this one; `name` may become another.
        ready: The checkpoints that the command line gave for other stages.
    """

    name: str
    body: dict[str, Any]
    source: str = "command line"
    config_object: Any = None
    given: dict[str, Any] = field(default_factory=dict)
    given_to: dict[str, dict[str, Any]] = field(default_factory=dict)
    stage: str = ""
    ready: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stage = self.stage or self.name

    @property
    def place(self) -> str:
        """Where this experiment stands, for messages."""
        return f"{self.source}, experiment '{self.name}'" if self.source != "command line" else self.source


class _Loader(yaml.SafeLoader):
    """YAML that reads 5e-4 as a number and refuses a key written twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    problem = f"key '{key.value}' is already given in line {seen[key.value]}"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
                seen[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep=deep)


# YAML 1.1 wants a dot and a signed exponent in a float and reads 5e-4, 1e6 and 1.e3 as text.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?([0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


def parse_yaml(text: str, place: str) -> Any:
    """Parses YAML (JSON is a subset of it), turning a syntax error into a message with the line."""
    try:
        content = yaml.load(text, Loader=_Loader)
        if _contains_itself(content):
            raise UserError(f"{place}: an anchor (&name) contains its own alias (*name), which has no end.")
        return content
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{place}, line {mark.line + 1}, column {mark.column + 1}" if mark else place
        problem = getattr(error, "problem", None) or one_line(error)
        raise UserError(f"{where}: not valid YAML: {problem}.") from error
    except RecursionError as error:
        raise UserError(f"{place}: it is nested too deeply.") from error


def _contains_itself(value: Any, inside: tuple[int, ...] = ()) -> bool:
    if not isinstance(value, dict | list):
        return False
    items = value.values() if isinstance(value, dict) else value
    return id(value) in inside or any(_contains_itself(item, (*inside, id(value))) for item in items)


def parse_json(text: str, option: str, example: str = '{"training_iteration": 10}') -> dict[str, Any]:
    """Parses an option that takes a JSON object (or a YAML mapping), such as ``--stop``."""
    example = f"Write for example {option} '{example}'."
    try:
        value = parse_yaml(text, option)
    except UserError as error:
        raise UserError(f"{error.message}\n{example}") from error
    if not isinstance(value, dict):
        raise UserError(f"{option}: a JSON object is needed, not {text}. {example}")
    return value


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Returns ``base`` with ``over`` laid on top: mappings are merged key by key, everything else is replaced.

    A search space (``grid_search: [...]``, ``uniform: [...]``) is a value, not a mapping to merge into.
    """
    merged = dict(deepcopy(base))
    for key, value in over.items():
        pair = (merged.get(key), value)
        is_merged = all(isinstance(each, Mapping) and not is_space(each) for each in pair)
        merged[key] = merge(*pair) if is_merged else deepcopy(value)  # type: ignore[arg-type]
    return merged


def _is_body(content: dict[str, Any]) -> bool:
    """Returns whether a file is itself one nameless experiment, like the files that others extend."""
    known = content.keys() <= EXPERIMENT_KEYS.keys() | _MOVED_KEYS.keys() | {"local_dir"}
    return bool(content) and known and not isinstance(content.get("run"), dict)


def load(path: str | Path, arguments: Sequence[str] = ()) -> list[Experiment]:
    """Reads the experiments of a .yaml, .yml, .json or .py file, which gets ``arguments`` as its own command line."""
    path = Path(path)
    if path.suffix == ".py":
        _require_file(path)
        return [_load_python(path, arguments)]
    if arguments:
        raise UserError(f"{path}: {' '.join(arguments)} after '--' is for Python files, which may read it.")
    content = read_mapping(path)
    shared = content.pop("extends", None)
    if _is_body(content):
        content = {path.stem: content}
    elif not content and shared is not None:
        content = {path.stem: {}}
    experiments, mistakes = [], Mistakes()
    for name, body in content.items():
        if str(name).startswith((".", "x-")):
            continue  # a template for anchors
        with mistakes.noted():
            if not isinstance(body, dict):
                raise UserError(
                    f"{path}: '{name}' must be a mapping with at least 'run' and 'env', not {_kind(body)}. "
                    "The form is:  my-experiment: {run: SaCCM, env: SaMI/Ant-v0, stop: {...}, config: {...}}"
                )
            if shared is not None:
                body = {"extends": shared, **body}
            experiments.append(Experiment(str(name), inherit(body, path), str(path)))
    mistakes.tell()
    if not experiments:
        raise UserError(f"{path}: no experiment in it (keys that begin with '.' or 'x-' are templates).")
    return experiments


def inherit(body: dict[str, Any], path: Path, chain: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Lays an experiment over the files that its ``extends`` names, and renames the keys of older files.

    Args:
        body: The experiment, as it stands in ``path``.
        path: The file, which ``extends`` is relative to.
        chain: The files that led here, ``path`` last; none for the first.
    """
    body = dict(body)
    chain = chain or (path.resolve(),)
    bases = body.pop("extends", None) or []
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise UserError(f"{path}: 'extends' must be a file name or a list of file names, not {bases!r}.")
    merged: dict[str, Any] = {}
    for base in bases:
        file, _, wanted = base.partition("#")
        base_path = path.parent / file
        if base_path.resolve() in chain:
            circle = " -> ".join(step.name for step in (*chain, base_path.resolve()))
            raise UserError(f"{path}: 'extends' goes in a circle: {circle}.")
        merged = merge(merged, _base_body(base_path, wanted, f"{path}: extends", chain))
    return merge(merged, _rename_old_keys(body, str(path)))


def _base_body(path: Path, wanted: str, place: str, chain: tuple[Path, ...]) -> dict[str, Any]:
    content = read_mapping(path, place=f"{place} ")
    shared = content.pop("extends", None)
    if not _is_body(content):
        named = {str(name): body for name, body in content.items() if isinstance(body, dict)}
        if not wanted and len(named) == 1:
            wanted = next(iter(named))
        if wanted not in named:
            from rllib_sami.core.text import did_you_mean  # not above: it would load Ray for every file

            hint = f"write {path.name}#NAME. {did_you_mean(wanted, named)}" if named else "it has no experiment."
            raise UserError(f"{place} '{path.name}': which experiment of it? {hint}")
        content = named[wanted]
    if shared is not None:
        content = {"extends": shared, **content}
    return inherit(content, path, (*chain, path.resolve()))


def _rename_old_keys(body: dict[str, Any], place: str) -> dict[str, Any]:
    """Renames the keys of older files."""
    body = dict(body)
    if "local_dir" in body:
        body.setdefault("storage_path", body.pop("local_dir"))
    moved = {new: body.pop(old) for old, new in _MOVED_KEYS.items() if old in body}
    if moved:
        checkpoint_config = body.get("checkpoint_config") or {}
        if not isinstance(checkpoint_config, dict):
            raise UserError(f"{place}: 'checkpoint_config' must be a mapping, not {_kind(checkpoint_config)}.")
        body["checkpoint_config"] = {**moved, **checkpoint_config}
    return body


def _load_python(path: Path, arguments: Sequence[str]) -> Experiment:
    """Takes ``config`` (an AlgorithmConfig or a dict with ``run``) and, if there, ``stop`` from a Python file."""
    from rllib_sami_cli.catalog import prepare_imports

    prepare_imports(path.parent)
    from ray.cloudpickle import register_pickle_by_value

    module = types.ModuleType("rllib_config")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    # Its environments and callbacks are sent to workers that cannot import it.
    register_pickle_by_value(module)
    variables = vars(module)
    ours, sys.argv = sys.argv, [str(path), *arguments]  # RLlib's examples have an argparse
    try:
        exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), variables)
    except Exception as error:
        raise UserError(f"{path}: running it failed: {type(error).__name__}: {one_line(error)}") from error
    except SystemExit as ending:
        if ending.code or {"-h", "--help"} & set(arguments):
            raise  # its argparse has printed why
        raise UserError(f"{path}: it ended itself with sys.exit() before it could be trained.") from ending
    finally:
        sys.argv = ours
    config = variables.get("config")
    stop = variables.get("stop") or {}
    if not isinstance(stop, dict):
        raise UserError(f"{path}: `stop` is {stop!r}, but must be a dict such as {{'training_iteration': 100}}.")
    body: dict[str, Any] = {"stop": dict(stop)}
    if isinstance(config, dict):
        return Experiment(path.stem, {**body, "run": variables.get("run"), "config": config}, str(path))
    if config is None or not hasattr(config, "algo_class"):
        raise UserError(
            f"{path}: a variable `config` is needed, an AlgorithmConfig such as SaCCMConfig().environment(...), "
            "and if you like `stop`, a dict."
        )
    return Experiment(path.stem, {**body, "run": config.algo_class, "config": {}}, str(path), config_object=config)


def _require_file(path: Path, place: str = "") -> None:
    if path.is_file():
        return
    folder = path.parent if path.parent.is_dir() else Path()
    from rllib_sami.core.text import did_you_mean  # not above: it would load Ray just to find a file

    others = [file.name for file in folder.iterdir() if file.suffix in (".yaml", ".yml", ".json", ".py")]
    hint = did_you_mean(path.name, others, list_up_to=0, cutoff=0.75)
    what = "is a folder, not a file" if path.is_dir() else "no such file"
    raise UserError(f"{place}{path}: {what}. {hint}".strip())


def read_mapping(path: Path, place: str = "") -> dict[str, Any]:
    """Reads a .yaml, .yml or .json file that holds a mapping; ``place`` comes before its name in messages."""
    _require_file(path, place)
    if path.suffix not in {".yaml", ".yml", ".json"}:
        raise UserError(f"{place}{path}: the file must end in .yaml, .yml, .json or .py.")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{place}{path}: cannot be read as text: {one_line(error)}") from error
    content = parse_yaml(text, f"{place}{path}")
    if content is None:
        raise UserError(f"{place}{path}: the file is empty.")
    if not isinstance(content, dict):
        raise UserError(f"{place}{path}: a mapping 'name: {{run, env, stop, config}}' is needed, not {_kind(content)}.")
    return content


def _kind(value: Any) -> str:
    return {dict: "a mapping", list: "a list", str: f"the text '{value}'", type(None): "nothing"}.get(
        type(value), f"{value!r}"
    )


def apply_settings(body: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Applies ``--set`` options: ``key=value``, the key dotted, the value YAML.

    A key whose first part is not one of an experiment's (``stop``, ``env``, ``config`` ...) belongs to its ``config``.
    """
    mistakes = Mistakes()
    for setting in settings:
        key, equals, text = setting.partition("=")
        path = key.strip().split(".")
        with mistakes.noted():
            if not equals or not all(path):
                form = "for example --set gamma=0.95 or --set stop.x=1"
                raise UserError(f"--set {setting}: the form is key=value, {form}.")
            if path[0] not in EXPERIMENT_KEYS:
                path = ["config", *path]
            value = parse_yaml(text, f"--set {setting}")
            for part in reversed(path[1:]):
                value = {part: value}
            body = merge(body, {path[0]: value})
    mistakes.tell()
    return body


def settings_of(names: Sequence[str], settings: Iterable[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Returns which ``--set`` options are for all experiments, and which for one: ``toy.gamma=0.9``, without the name.

    Args:
        names: Names of the experiments. Only if there are several can an option be for one.
        settings: The options.
    """
    shared: list[str] = []
    own: dict[str, list[str]] = {name: [] for name in names}
    several = [name for name in names if name not in EXPERIMENT_KEYS] if len(names) > 1 else []
    for setting in settings:
        key = setting.partition("=")[0].strip()
        of = [name for name in several if key.startswith(f"{name}.")]
        if of:
            name = max(of, key=len)
            own[name].append(setting.strip()[len(name) + 1 :])
        else:
            shared.append(setting)
    return shared, own
