"""From a registry, as a dict, a file or the environment, to a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigurationError
from .entries import DefaultsConfig
from .models import LMRotateConfig, warn_of_literals
from .parse import PARSERS
from .problems import hint, problem, told
from .references import field, numbered

Chains = Mapping[str, Sequence[Mapping[str, Any]]]


def configure_from_dict(
    registry: Mapping[str, Any],
    use_keys: list[str] | None = None,
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
        is_path = str(registry).lower().endswith(tuple(PARSERS))
        reader = "; configure_from_file(path) reads one" if is_path else ""
        raise ConfigurationError(f"a registry must be a mapping that holds a list of keys{reader}")
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
    parse = PARSERS.get(path.suffix.lower())
    if parse is None:
        raise ConfigurationError(f"must be a file of these kinds: {', '.join(PARSERS)}")
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
