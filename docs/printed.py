# ruff: noqa: INP001 - a script beside the pages, not a package
"""Prints the parts of the documentation that come from the code.

``python docs/printed.py`` writes them anew; a test compares them with what stands there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import drawings
import meanings

from llm_rotate.config.catalogue import built_in
from llm_rotate.config.schema import registry_schema
from llm_rotate.core.outcome import FAULTS, Fault, Outcome

DOCS = Path(__file__).parent
WIDE = "---\nhide: [toc]\n---\n\n"  # leaves the table the room of the contents
NOTE = "<!-- Printed by docs/printed.py: change the code, or docs/meanings.py, and run it. -->"


def fault_table() -> str:
    """concepts/fault-table.md."""
    rows = [_fault_row(outcome, fault) for outcome, fault in FAULTS.items()]
    heads = (
        "Outcome",
        "What providers say",
        "To blame",
        "What follows for it",
        "The call",
        "Raises",
    )
    head = f"{WIDE}{NOTE}\n\n{meanings.FAULT_TABLE_HEAD}"
    return f"{head}\n{_table(heads, rows)}{meanings.FAULT_TABLE_FOOT}"


def _fault_row(outcome: Outcome, fault: Fault) -> tuple[str, ...]:
    scope = meanings.SCOPES[str(fault.scope)]
    effect = meanings.EFFECTS[str(fault.effect)]
    error = fault.error.__name__
    return (
        f"`{outcome}`",
        meanings.SAID[str(outcome)],
        str(fault.blame),
        f"{scope}: {effect}" if scope else effect,
        meanings.CALLS[str(fault.call)],
        "" if outcome is Outcome.OK else f"`{error}`",
    )


def configuration() -> str:
    """reference/configuration.md."""
    schema = registry_schema()
    parts = [NOTE, "", meanings.CONFIGURATION_HEAD, ""]
    for name, (title, opening) in meanings.ENTRIES.items():
        fields = schema["properties"] if name == "registry" else _fields(schema, name)
        rows = [
            (f"`{field}`", _kind(shape), _default(shape), meanings.FIELDS[name][field])
            for field, shape in fields.items()
        ]
        heads = ("Field", "Type", "Default", "Meaning")
        parts += [f"## {title}", "", opening, "", _table(heads, rows)]
    return "\n".join(parts)


def _fields(schema: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    fields: Mapping[str, Any] = schema["$defs"][name]["properties"]
    return fields


def _kind(shape: Mapping[str, Any]) -> str:
    """The type of a field in words."""
    if "enum" in shape:
        return ", ".join(f"`{word}`" for word in shape["enum"])
    if "$ref" in shape:
        name = shape["$ref"].rpartition("/")[2]
        return f"[{name}](#{meanings.ENTRIES[name][0].lower()})"
    if "anyOf" in shape:
        return " or ".join(_kind(each) for each in shape["anyOf"])
    if shape.get("type") == "array":
        return f"list of {_kind(shape['items'])}"
    inner = shape.get("additionalProperties")
    if shape.get("type") == "object":
        return f"mapping to {_kind(inner)}" if isinstance(inner, Mapping) else "mapping"
    return str({"null": "None"}.get(shape["type"], shape["type"]))


def _default(shape: Mapping[str, Any]) -> str:
    if "default" not in shape:
        return ""
    default = shape["default"]
    return "None" if default is None else f"`{json.dumps(default)}`"


def providers() -> str:
    """reference/providers.md."""
    rows = [
        (
            f"`{name}`",
            entry["display_name"],
            entry.get("dialect", "openai"),
            f"`{entry['base_url']}`" if "base_url" in entry else "",
            ", ".join(f"`{name}`" for name in entry.get("env", ())),
            f"{entry['default_cooldown_seconds']} s",
        )
        for name, entry in built_in().items()
    ]
    heads = ("Name", "Service", "Dialect", "base_url", "Keys in the environment", "Cooldown")
    return f"{NOTE}\n\n{meanings.PROVIDERS_HEAD}\n{_table(heads, rows)}{meanings.PROVIDERS_FOOT}"


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


PRINTED: Mapping[str, Callable[[], str]] = {
    "concepts/fault-table.md": fault_table,
    "concepts/health-machine.svg": drawings.health_machine,
    "concepts/call.svg": drawings.call,
    "concepts/limits.svg": drawings.limits,
    "concepts/shared-state.svg": drawings.shared_state,
    "reference/configuration.md": configuration,
    "reference/providers.md": providers,
}


def main() -> None:
    for name, text in PRINTED.items():
        (DOCS / name).write_text(text(), "utf-8")


if __name__ == "__main__":
    main()
