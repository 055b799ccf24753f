"""Server-sent events, however they are split."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_rotate.providers.sse import BARE, SseParser


def parsed(*pieces: bytes) -> list[tuple[str, bytes]]:
    parser = SseParser()
    return [event for piece in pieces for event in parser.feed(piece)] + parser.end()


@pytest.mark.parametrize(
    ("raw", "events"),
    [
        (b"data: a\n\ndata: b\n\n", [("", b"a"), ("", b"b")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [("", b"a"), ("", b"b")]),
        (b"data: a\r\rdata: b\r\r", [("", b"a"), ("", b"b")]),
        (b"event: ping\ndata: a\n\n", [("ping", b"a")]),
        (b"data: a\ndata: b\n\n", [("", b"a\nb")]),
        (b"data:a\n\ndata:  b\n\n", [("", b"a"), ("", b" b")]),
        (b": waiting\n\n: waiting\n\ndata: a\n\n", [("", b"a")]),
        (b": waiting\ndata: a\n\n", [("", b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("", b"a")]),
        (b"data: a\n\n\n\n\ndata: b\n\n", [("", b"a"), ("", b"b")]),
        (b"data: a\n\ndata: b", [("", b"a"), ("", b"b")]),
        (b"data: a\n\ndata: b\n", [("", b"a"), ("", b"b")]),
        (b"id: 4\nretry: 10\ndata: a\n\n", [("", b"a")]),
        (b"event: nothing\n\n", []),
        (b"data\n\ndata:\n\n", []),
        (b"data: a:b\n\n", [("", b"a:b")]),
        (b"", []),
        (b'{"x":1}\ndata: a\n\n', [(BARE, b'{"x":1}\n'), ("", b"a")]),
        (b"[1]\n: c\nevent: e\ndata: a\n\n", [(BARE, b"[1]\n"), ("e", b"a")]),
        (b'{\n"data": 1,\n "x": 2}\n\ndata: a', [(BARE, b'{\n"data": 1,\n "x": 2}'), ("", b"a")]),
    ],
)
def test_events_are_the_same_however_the_bytes_are_split(
    raw: bytes, events: list[tuple[str, bytes]]
) -> None:
    assert parsed(raw) == events
    assert parsed(*(raw[i : i + 1] for i in range(len(raw)))) == events
    for cut in range(len(raw)):
        assert parsed(raw[:cut], raw[cut:]) == events


@pytest.mark.parametrize("char", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c"])
def test_what_only_looks_like_a_line_end_is_text(char: str) -> None:
    data = f'{{"x":"a{char}b"}}'.encode()
    assert parsed(b"data: " + data + b"\n\n") == [("", data)]


def test_an_event_comes_out_with_its_blank_line_not_with_the_next_event() -> None:
    for end in (b"\n\n", b"\r\n\r\n", b"\r\r"):
        assert SseParser().feed(b"data: a" + end) == [("", b"a")]


def test_a_large_event_costs_as_much_as_its_bytes_however_many_pieces_it_comes_in() -> None:
    """Were it put together anew at every piece, this would take a hundred times as long."""
    data, began = b"x" * 8_000_000, time.process_time()
    parser = SseParser()
    parser.feed(b"data: ")
    for at in range(0, len(data), 256):
        assert not parser.feed(data[at : at + 256])
        assert time.process_time() - began < 5.0
    assert parser.feed(b"\n\n") == [("", data)]


line = st.sampled_from(
    [
        b"data: x",
        b"data: y",
        b"data:",
        b": c",
        b"event: e",
        b"",
        b"",
        b"junk",
        b'{"x": 1}',
        b"\xff",
        b"data: \xef\xbb\xbf",
    ]
)


@given(
    st.lists(st.tuples(line, st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=20),
    st.lists(st.integers(0, 200), max_size=8),
)
def test_any_split_of_any_lines_gives_the_same_events(
    lines: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    raw = b"".join(text + end for text, end in lines)
    places = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    assert parsed(*(raw[a:b] for a, b in pairwise(places))) == parsed(raw)
