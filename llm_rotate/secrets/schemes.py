"""The schemes there are: ours, and those of other packages. Imported when they are first read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from .secret import SecretError, SecretScheme

GROUP = "llm_rotate.secrets"
_OWN = {
    "env": "env",
    "file": "file",
    "literal": "literal",
    "keyring": "os_keyring",
    "aws": "aws",
    "gcp": "gcp",
    "vault": "vault",
}  # scheme -> module
SPELLINGS = (
    "env://NAME, file://PATH, keyring://SERVICE/NAME, aws://NAME, gcp://PROJECT/NAME, "
    "vault://PATH#FIELD or literal://VALUE"
)


class _Schemes(Mapping[str, SecretScheme]):
    """By name. Raises SecretError for another package's scheme that cannot be imported."""

    def __getitem__(self, name: str) -> SecretScheme:
        if name in _OWN:
            own: SecretScheme = import_module(f".{_OWN[name]}", __package__).read
            return own
        entry = _others()[name]
        try:
            others: SecretScheme = entry.load()
        except Exception as error:
            raise SecretError(
                f"{name}:// comes from {entry.value}, which cannot be imported: {error}"
            ) from error
        return others

    def __contains__(self, name: object) -> bool:
        return name in _OWN or name in _others()

    def __iter__(self) -> Iterator[str]:
        return iter({**_others(), **_OWN})

    def __len__(self) -> int:
        return len({**_others(), **_OWN})


@cache
def _others() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}


SCHEMES: Mapping[str, SecretScheme] = _Schemes()
