"""Keys that stand in the environment under the names that vendors use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import ConfigurationError
from ..secrets.env import entries
from .catalogue import built_in
from .checks import web_address

_NUMBERED = re.compile(r"_([0-9]+)$")


def registry_from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """A registry of all keys found: OPENAI_API_KEY, OPENAI_API_KEY_2, OPENAI_API_KEYS
    (comma-separated), and the same for every provider of the catalogue that names variables.

    Equal secrets make one key. A key's name has its variable's number, the first being 1. Where
    the provider names a variable for its address (OPENAI_BASE_URL), the keys go there.

    Raises ConfigurationError, which says which names were looked for, if there are none.
    """
    keys = [key for name, entry in _with_variables() for key in _keys(name, entry, environ)]
    if not keys:
        raise ConfigurationError(
            "no key in the environment. Set one of these (NAME, NAME_2, NAME_3, ... or NAMES, "
            f"comma-separated): {', '.join(_looked_for())}; or call configure() with a registry"
        )
    return {"keys": keys}


def _with_variables() -> list[tuple[str, Mapping[str, Any]]]:
    return [(name, entry) for name, entry in built_in().items() if entry.get("env")]


def _looked_for() -> Iterator[str]:
    for _, entry in _with_variables():
        needed = ", ".join(entry.get("env_auth_config", {}).values())
        for name in entry["env"]:
            yield f"{name} (with {needed})" if needed else name


def _keys(
    provider: str, entry: Mapping[str, Any], environ: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    auth = {
        field: environ.get(name, "").strip()
        for field, name in entry.get("env_auth_config", {}).items()
    }
    if not all(auth.values()):
        return
    references: dict[str, str] = {}
    for name in entry["env"]:
        for reference, secret in _secrets(name, environ):
            references.setdefault(secret, reference)
    address = base_url(provider, environ) if references else None
    numbers = _numbers(list(references.values()))
    for reference in references.values():
        key_id = f"{provider}-{numbers[reference]}"
        key = {"key_id": key_id, "provider": provider, "secret_ref": reference}
        more = {"auth_config": auth, "base_url": address}
        yield key | {field: said for field, said in more.items() if said}


def base_url(provider: str, environ: Mapping[str, str]) -> str | None:
    """Where the environment says that ``provider`` is. Raises ConfigurationError."""
    variable = built_in().get(provider, {}).get("env_base_url", "")
    address = environ.get(variable, "").strip()
    try:
        return web_address(address) if address else None
    except ValueError as error:
        reason = str(error)
    raise ConfigurationError(f"{variable} {reason}")


def _numbers(references: list[str]) -> dict[str, int]:
    """Those of the variables; what has none, or another's, gets one behind them."""
    wanted = {each: int(m[1]) for each in references if (m := _NUMBERED.search(each))}
    taken: dict[int, str] = {}
    for reference in sorted(references, key=lambda each: each not in wanted):
        last = max(taken, default=0)
        is_list = "#" in reference
        number = wanted.get(reference, last + 1 if is_list else 1)
        taken[last + 1 if number in taken else number] = reference
    return {reference: number for number, reference in taken.items()}


def _secrets(name: str, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """References and their secrets: NAME, NAME_1, NAME_2, ..., then the list in NAMES."""
    numbered = re.compile(rf"{re.escape(name)}_([0-9]+)")
    numbers = sorted((int(m[1]), m[0]) for m in map(numbered.fullmatch, environ) if m)
    for variable in (name, *(variable for _, variable in numbers)):
        secret = environ.get(variable, "").strip()
        if secret:
            yield f"env://{variable}", secret
    for index, secret in enumerate(entries(environ.get(f"{name}S", ""))):
        yield f"env://{name}S#{index}", secret
