"""What the documentation prints from the code is what the code says now."""

from __future__ import annotations

import sys
import tomllib
from xml.etree import ElementTree as ET

import pytest

import llm_rotate
from llm_rotate.config.schema import registry_schema
from llm_rotate.core.outcome import Blame, Effect, Next, Outcome, Scope
from llm_rotate.testing import __all__ as testing_names

from .pages import ROOT

DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS))

import meanings  # noqa: E402
import printed  # noqa: E402


@pytest.mark.parametrize("name", printed.PRINTED)
def test_printed_part_is_up_to_date(name: str) -> None:
    stands = (DOCS / name).read_text("utf-8")
    assert stands == printed.PRINTED[name](), "run `python docs/printed.py`"


@pytest.mark.parametrize("name", [name for name in printed.PRINTED if name.endswith(".svg")])
def test_diagrams_are_drawings_that_need_nothing_else(name: str) -> None:
    root = ET.fromstring((DOCS / name).read_text("utf-8"))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert {"href", "src"}.isdisjoint(key for each in root.iter() for key in each.attrib)


def test_every_word_of_the_table_has_its_meaning_and_no_other_has() -> None:
    assert list(meanings.SAID) == [*Outcome]
    assert list(meanings.SCOPES) == [*Scope]
    assert list(meanings.EFFECTS) == [*Effect]
    assert list(meanings.CALLS) == [*Next]
    assert {str(blame) for blame in Blame} == {"nobody", "key", "request", "provider", "caller"}


def test_every_field_has_its_meaning_and_no_other_has() -> None:
    schema = registry_schema()
    told = {name: set(fields) for name, fields in meanings.FIELDS.items()}
    there = {name: set(entry["properties"]) for name, entry in schema["$defs"].items()}
    assert told == {"registry": set(schema["properties"]), **there}


def test_the_readme_names_every_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    _, table = (ROOT / "README.md").read_text("utf-8").split("[start:extras]")
    table, _ = table.split("[end:extras]")
    assert {name for name in project["optional-dependencies"] if f"`{name}`" not in table} == set()


def test_every_public_name_is_in_the_reference() -> None:
    text = "".join(page.read_text("utf-8") for page in (DOCS / "reference").glob("*.md"))
    listed = {line.removeprefix("::: ") for line in text.splitlines() if line.startswith("::: ")}
    public = {f"llm_rotate.{name}" for name in llm_rotate.__all__ if name != "__version__"}
    public |= {f"llm_rotate.testing.{name}" for name in testing_names}
    assert public - listed == set()
