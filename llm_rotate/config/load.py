"""From a registry, as a dict, a file or the environment, to a configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from .entries import DefaultsConfig
from .models import LMRotateConfig, warn_of_literals
from .problems import hint, problem, told
from .references import field, numbered

Chains = Mapping[str, Sequence[Mapping[str, Any]]]


def configure_from_dict(
    registry: dict[str, Any],
    use_keys: list[str] | None,
    *,
    strategy: str | None = None,
    priorities: dict[str, int] | None = None,
    fallback_chains: Chains | None = None,
) -> LMRotateConfig:
    """A configuration from a registry, which may hold every field of LMRotateConfig.

    ``use_keys`` chooses keys by key_id; None leaves it to the registry's ``use_keys``, else
    takes all. The other arguments win over what the registry says. Raises
    ConfigurationError, which lists all that is wrong.
    """
    if not isinstance(registry, Mapping):
        raise ConfigurationError("a registry must be a mapping that holds a list of keys")
    fields = {name: value for name, value in registry.items() if value is not None}
    fields.pop("$schema", None)  # for editors
    chosen = fields.pop("use_keys", None)
    if strategy is not None:
        fields["defaults"] = _with_strategy(fields.get("defaults", {}), strategy)
    if fallback_chains is not None:
        fields["fallback_chains"] = fallback_chains
    return _build(fields, chosen if use_keys is None else use_keys, priorities or {})


def configure_from_file(path: str | Path, *, use_keys: list[str] | None = None) -> LMRotateConfig:
    """A configuration from a JSON file or, with the yaml extra, a YAML file.

    The file is a registry as for configure_from_dict, which has the rest.
    """
    path = Path(path)
    reason = None
    try:
        return configure_from_dict(_read(path), use_keys)
    except ConfigurationError as error:
        reason = str(error)
    raise ConfigurationError(f"{path}: {reason}")


def _with_strategy(defaults: Any, strategy: str) -> Any:
    if isinstance(defaults, DefaultsConfig):
        defaults = defaults.model_dump(exclude_unset=True)
    if not isinstance(defaults, Mapping):
        return defaults
    return {**defaults, "selection_strategy": strategy}


def _build(fields: dict[str, Any], use_keys: Any, priorities: Mapping[str, int]) -> LMRotateConfig:
    written = (field(key, "key_id") for _, key in numbered(fields, "keys"))
    key_ids = [key_id for key_id in written if isinstance(key_id, str)]
    problems = [*_unknown("use_keys", use_keys, key_ids), *_unknown_priorities(priorities, key_ids)]
    if not fields.get("keys"):
        problems.append("keys: there are none")
    config = None
    try:
        config = LMRotateConfig.model_validate(_prioritised(fields, priorities))
    except ConfigurationError as error:
        problems += error.problems
    if problems or config is None:
        raise told(problems)
    if use_keys is not None:
        by_id = {key.key_id: key for key in config.keys}
        config.keys = [by_id[key_id] for key_id in use_keys]
    warn_of_literals(config)
    return config


def _unknown(name: str, key_ids: Any, known: Sequence[str]) -> Iterator[str]:
    if key_ids is None:
        return
    if not isinstance(key_ids, (list, tuple)) or not key_ids:
        yield problem((name,), "must be a list of key_ids, at least one")
        return
    left = dict.fromkeys(known, 1)
    for index, key_id in enumerate(key_ids):
        if not isinstance(key_id, str) or key_id not in left:
            yield problem((name, index), f"no such key{hint(key_id, known)}")
        elif not left[key_id]:
            yield problem((name, index), "named twice")
        else:
            left[key_id] = 0


def _unknown_priorities(priorities: Any, known: Sequence[str]) -> Iterator[str]:
    if not isinstance(priorities, Mapping):
        yield problem(("priorities",), "must be a mapping of key_ids to numbers")
        return
    names = set(known)
    for key_id in priorities:
        if key_id not in names:
            yield problem(("priorities", key_id), f"no such key{hint(key_id, known)}")


def _prioritised(fields: dict[str, Any], priorities: Any) -> dict[str, Any]:
    if not priorities or not isinstance(priorities, Mapping):
        return fields
    keys = [_with_priority(key, priorities) for _, key in numbered(fields, "keys")]
    return {**fields, "keys": keys} if keys else fields


def _with_priority(key: Any, priorities: Mapping[str, int]) -> Any:
    key_id = field(key, "key_id")
    if not isinstance(key_id, str) or key_id not in priorities:
        return key
    if isinstance(key, Mapping):
        return {**key, "priority": priorities[key_id]}
    return key.model_copy(update={"priority": priorities[key_id]})


def _read(path: Path) -> Any:
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        raise ConfigurationError(f"must be a file of these kinds: {', '.join(_PARSERS)}")
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise ConfigurationError(f"cannot be read: {error.strerror}") from None
    except ValueError:
        text = None
    if text is None:  # raised out here, for the exception above holds the file's content
        raise ConfigurationError("is not UTF-8 text")
    if not text.strip():
        raise ConfigurationError("is empty; a registry is a mapping that holds a list of keys")
    return parse(text)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        reason = f"is not JSON: line {error.lineno}, column {error.colno}: {error.msg}"
    raise ConfigurationError(reason)


def _yaml(text: str) -> Any:
    try:
        import yaml  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            "YAML needs the yaml extra of this package, which is PyYAML "
            "(pip install pyyaml); JSON needs nothing"
        ) from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
    where = f": line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    raise ConfigurationError(f"is not YAML{where}")


_PARSERS: Mapping[str, Callable[[str], Any]] = {".json": _json, ".yaml": _yaml, ".yml": _yaml}
