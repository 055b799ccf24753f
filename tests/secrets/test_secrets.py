"""References to secrets: what they read, what they refuse, and that nothing shows."""

import copy
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_rotate.secrets import Secret, SecretError, resolve


def test_env_reads_a_variable_and_strips_it(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "  sk-1\r\n")
    assert resolve("env://SOME_KEY").reveal() == "sk-1"


def test_env_reads_one_entry_of_a_list(monkeypatch):
    monkeypatch.setenv("SOME_KEYS", "a, ,b ,c,")
    assert [resolve(f"env://SOME_KEYS#{n}").reveal() for n in range(3)] == ["a", "b", "c"]


def test_file_reads_text_without_mark_and_newline(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(b"\xef\xbb\xbfsk-2\n")
    assert resolve(f"file://{path}").reveal() == "sk-2"


def test_a_json_object_of_several_lines_is_read_as_one(tmp_path):
    account = {"type": "service_account", "private_key": "-----BEGIN\nabc\n"}
    path = tmp_path / "account.json"
    path.write_text(json.dumps(account, indent=2))
    read = resolve(f"file://{path}").reveal()
    assert json.loads(read) == account
    assert read.isprintable()
    path.write_text("{\n sk-hidden\n")
    with pytest.raises(SecretError, match="no header can carry") as caught:
        resolve(f"file://{path}")
    assert caught.value.__context__ is None


def test_file_path_is_relative_to_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "key").write_text("sk-3")
    monkeypatch.chdir(tmp_path)
    assert resolve("file://key").reveal() == "sk-3"


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("", "no secret_ref"),
        ("env://", "names no variable"),
        ("env://SURELY_UNSET", "SURELY_UNSET is not set"),
        ("env://LISTED#7", "LISTED has no entry 7"),
        ("env://LISTED#x", "number of an entry"),
        ("env://BLANK", "env://BLANK is empty"),
        ("env://TORN", "no header can carry"),
        ("env://QUOTED", "no header can carry"),
        ("file://", "names no file"),
        ("file:///surely/not/there", "/surely/not/there cannot be read: No such file"),
        ("file:///", "cannot be read: Is a directory"),
        ("literal://", "is empty"),
    ],
)
def test_R16_a_secret_that_cannot_be_read_says_which_and_why(reference, reason, monkeypatch):
    monkeypatch.setenv("LISTED", "a,b")
    monkeypatch.setenv("BLANK", " \n")
    monkeypatch.setenv("TORN", "sk-hidden\nsk-other")
    monkeypatch.setenv("QUOTED", "“sk-hidden”")
    with pytest.raises(SecretError, match=reason) as caught:
        resolve(reference)
    assert "sk-" not in str(caught.value)


def test_a_file_of_other_bytes_or_too_many_is_no_secret(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(b"\xffsk-hidden")
    with pytest.raises(SecretError, match="not UTF-8") as caught:
        resolve(f"file://{path}")
    assert caught.value.__context__ is None
    path.write_bytes(b"a" * 70_000)
    with pytest.raises(SecretError, match="larger than 65536 bytes"):
        resolve(f"file://{path}")


@pytest.mark.parametrize("reference", ["sk-hidden", "vualt://sk-hidden", "://sk-hidden"])
def test_F04_an_unknown_scheme_is_explained_without_its_value(reference):
    with pytest.raises(SecretError, match="needs a scheme: env://NAME, file://PATH, ") as caught:
        resolve(reference)
    assert "sk-hidden" not in str(caught.value)


def is_sendable(value):
    return value.strip().isprintable() and value.isascii() and value.strip() != ""


@given(st.text(min_size=8, alphabet=st.characters(max_codepoint=300)))
def test_F04_a_secret_is_read_whole_or_refused_without_showing(value):
    if is_sendable(value):
        assert resolve(f"literal://{value}").reveal() == value.strip()
    elif not value.strip().isprintable():
        with pytest.raises(SecretError) as caught:
            resolve(f"literal://{value}")
        assert value not in str(caught.value)


def test_F04_a_secret_shows_in_no_text_and_goes_into_no_pickle():
    secret = Secret("sk-hidden")
    assert "sk-hidden" not in f"{secret!r} {secret!s} {secret} {[secret]}"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="cannot be pickled"):
            leak(secret)
