"""Says what is wrong with a configuration: where, why, and what was probably meant.

Never what was written: a secret may stand in the wrong field.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..core.redact import HIDDEN, is_key_like
from ..errors import ConfigurationError

T = TypeVar("T")
Path = tuple[str | int, ...]

LONGEST_LIST = 12
# What others call the field in which a key's secret stands.
SECRET_REF_MEANT = frozenset({"api_key", "key", "token", "secret"})
REFERENCE_HINT = "; did you mean 'secret_ref'? It says where the secret is: env://OPENAI_API_KEY"
_PLAIN = re.compile(r"[A-Za-z_$][\w-]*")


def path_text(path: Path) -> str:
    """``("keys", 2, "tags")`` as ``keys[2].tags``."""
    text = ""
    for step in path:
        if isinstance(step, str) and is_key_like(step):
            text += f".{HIDDEN}" if text else HIDDEN
        elif isinstance(step, str) and _PLAIN.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{step!r}]"
    return text


def problem(path: Path, reason: str) -> str:
    where = path_text(path)
    return f"{where}: {reason}" if where else reason


def hint(written: Any, known: Iterable[str]) -> str:
    """The nearest of ``known``, or all of them if none is near and they are few."""
    names = [name for name in dict.fromkeys(known) if not is_key_like(name)]
    near = nearest(written, names)
    if near:
        return f"; did you mean {near!r}?"
    if not names:
        return ""
    more = ", ..." if len(names) > LONGEST_LIST else ""
    return f"; known: {', '.join(names[:LONGEST_LIST])}{more}"


def nearest(written: Any, known: Sequence[str], alike: float = 0.6) -> str | None:
    """The name most like ``written``; ``alike`` is difflib's ratio, 1 for equal names."""
    found = difflib.get_close_matches(written, known, 1, alike) if isinstance(written, str) else []
    return found[0] if found else None


def told(problems: Sequence[str]) -> ConfigurationError:
    """One error for all ``problems``."""
    lines = "".join(f"\n  {line}" for line in problems)
    several = f"{len(problems)} problems in the configuration:{lines}"
    error = ConfigurationError(problems[0] if len(problems) == 1 else several)
    error.problems = tuple(problems)
    return error


def in_words(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Each problem of ``error``, found by filling ``model``, as one line."""
    details = error.errors(include_url=False)
    return list(dict.fromkeys(problem(d["loc"], _reason(d, model)) for d in details))


def _reason(detail: ErrorDetails, model: type[BaseModel]) -> str:
    spell = _SPELLED.get(detail["type"])
    if spell:
        return spell(detail, model)
    text = detail["msg"]
    return text[0].lower() + text[1:]


def _no_such_field(detail: ErrorDetails, model: type[BaseModel]) -> str:
    *outer, name = detail["loc"]
    if isinstance(name, str) and is_key_like(name):
        return "no such field, and its name looks like a secret"
    fields = _fields_at(model, tuple(outer))
    if name in SECRET_REF_MEANT and "secret_ref" in fields:
        return f"no such field{REFERENCE_HINT}"
    return f"no such field{hint(name, fields)}"


def _not_a_choice(detail: ErrorDetails, _: type[BaseModel]) -> str:
    choices = re.findall(r"'([^']*)'", detail["ctx"]["expected"])
    return f"not one of its values{hint(detail['input'], choices)}"


_SPELLED: Mapping[str, Callable[[ErrorDetails, type[BaseModel]], str]] = {
    "extra_forbidden": _no_such_field,
    "literal_error": _not_a_choice,
    "missing": lambda _, __: "missing",
    "value_error": lambda detail, _: str(detail["ctx"]["error"]),
    "invalid_key": lambda _, __: "names must be text",
}


def _fields_at(model: type[BaseModel], path: Path) -> list[str]:
    """The fields of the entry at ``path`` below ``model``."""
    here: Any = model
    for step in path:
        fields = getattr(here, "model_fields", None)
        here = fields[step].annotation if fields else _inner(here)
        while not hasattr(here, "model_fields") and type(None) in get_args(here):
            here = get_args(here)[0]
    return list(getattr(here, "model_fields", ()))


def _inner(container: Any) -> Any:
    """What a list or mapping type holds."""
    return (get_args(container) or (None,))[-1]


def checked(
    model: type[BaseModel], fill: Callable[[], T], further: Callable[[], list[str]] = list
) -> T:
    """What ``fill`` makes of ``model``, if neither it nor ``further`` finds a problem.

    Raises one ConfigurationError for all of them, away from the ValidationError, which holds
    what was written.
    """
    problems: list[str] = []
    try:
        filled = fill()
    except ValidationError as error:
        problems = in_words(error, model)
    problems += further()
    if problems:
        raise told(problems)
    return filled
