# ruff: noqa: INP001 - a script beside the pages, not a package
"""The diagrams, drawn as SVG: the labels come from the code, the places from here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from llm_rotate.core.keystate import KeyState, Kind, after
from llm_rotate.core.meter import BURST_SHARE, FEWEST_REQUESTS, REQUESTS, Meter
from llm_rotate.core.outcome import FAULTS, Next, Outcome
from llm_rotate.core.policy import Policy

POLICY = Policy(60.0, 300.0, 5)
INK, FAINT, FILL = "#263238", "#607d8b", "#eceff1"
COLOURS: Mapping[Kind, str] = {
    Kind.ACTIVE: "#c8e6c9",
    Kind.COOLDOWN: "#fff9c4",
    Kind.QUARANTINE: "#ffe0b2",
    Kind.PROBATION: "#bbdefb",
    Kind.DISABLED: "#ffcdd2",
}
Edge = tuple[Kind, Kind]


# -- the health machine


def transitions() -> dict[Edge, list[str]]:
    """What leads from a state to another, found by asking the health machine."""
    edges: dict[Edge, list[str]] = {}

    def note(before: Kind, changed: Kind, why: str) -> None:
        if before is not changed:
            edges.setdefault((before, changed), []).append(why)

    for outcome in Outcome:
        for before, now in ((KeyState(), 0.0), (KeyState(Kind.COOLDOWN, until=1.0), 2.0)):
            kind = before.kind_at(now)
            note(kind, after(before, outcome, now, POLICY).kind_at(now), str(outcome))
            struck = KeyState(
                before.kind, before.until, strikes=POLICY.max_consecutive_failures - 1
            )
            last = after(struck, outcome, now, POLICY).kind_at(now)
            if last is Kind.DISABLED:
                note(kind, last, f"{outcome}, too many in a row")
    for kind in Kind:
        note(kind, KeyState(kind, until=1.0).kind_at(2.0), "its time is over")
    return edges


STATES: Mapping[Kind, tuple[int, int]] = {
    Kind.ACTIVE: (100, 210),
    Kind.COOLDOWN: (430, 60),
    Kind.QUARANTINE: (430, 360),
    Kind.PROBATION: (760, 210),
    Kind.DISABLED: (430, 520),
}
# An arrow's path, where its label stands, and the label's opening
ARROWS: Mapping[Edge, tuple[str, tuple[int, int], str]] = {
    (Kind.ACTIVE, Kind.COOLDOWN): ("M120 182 Q170 70 356 60", (160, 52), ""),
    (Kind.ACTIVE, Kind.QUARANTINE): ("M130 238 Q210 350 356 358", (330, 240), ""),
    (Kind.ACTIVE, Kind.DISABLED): ("M90 238 Q110 510 356 520", (92, 480), ""),
    (Kind.COOLDOWN, Kind.PROBATION): ("M502 60 Q690 70 740 180", (690, 70), ""),
    (Kind.QUARANTINE, Kind.PROBATION): ("M502 352 Q650 330 735 240", (580, 310), ""),
    (Kind.PROBATION, Kind.ACTIVE): ("M688 203 L174 203", (430, 190), "the trial succeeds: "),
    (Kind.PROBATION, Kind.QUARANTINE): ("M755 238 Q690 380 504 372", (620, 408), "the trial fails"),
    (Kind.PROBATION, Kind.DISABLED): ("M775 238 Q770 505 504 520", (795, 480), ""),
}


def health_machine() -> str:
    """concepts/health-machine.svg. KeyError if the machine has an arrow without a place."""
    edges = transitions()
    if edges.keys() != ARROWS.keys():
        raise KeyError(f"arrows without a place: {edges.keys() ^ ARROWS.keys()}")
    parts = [_arrow(ARROWS[edge][0]) for edge in edges]
    parts += [_label(edge, why) for edge, why in edges.items()]
    parts += [
        _box(x, y, 144, 56, [str(kind).upper()], COLOURS[kind]) for kind, (x, y) in STATES.items()
    ]
    operators = "lm.keys: rest gives COOLDOWN, disable DISABLED, enable PROBATION, reset ACTIVE"
    parts.append(_text(430, 580, [operators], FAINT))
    return _svg(880, 600, "The states of a key and what leads from one to another", parts)


def _label(edge: Edge, why: list[str]) -> str:
    _, (x, y), opening = ARROWS[edge]
    if opening and not opening.endswith(" "):  # all that can befall a trial: see the table
        return _text(x, y, [opening, "rests longer each time"], INK)
    lines = why if edge[1] is not Kind.DISABLED else why[0].split(", ")
    return _text(x, y, [opening + lines[0], *lines[1:]], INK)


# -- the path of a call


def call() -> str:
    """concepts/call.svg."""
    boxes = [
        _box(200, 40, 260, 50, ["lm.chat(model, messages)"], COLOURS[Kind.PROBATION]),
        _box(
            200, 120, 260, 60, ["a stage: a provider and a model", "the own one, then the chain's"]
        ),
        _box(200, 222, 260, 64, ["lease: a key of the stage", "that may go; whose turn it is"]),
        _box(200, 325, 260, 60, ["one attempt", "build, sign, send once"]),
        _box(200, 425, 260, 60, ["judge the outcome", "by the fault table"]),
        _box(200, 525, 260, 50, [f"{_of(Next.RETURN)[0]}: ChatResponse"], COLOURS[Kind.ACTIVE]),
        _box(485, 312, 250, 112, ["rotate: another key, at once", *_of(Next.ROTATE)]),
        _box(485, 432, 250, 84, ["retry: after a pause, max_retries", *_of(Next.RETRY)]),
        _box(
            485,
            540,
            250,
            84,
            ["raise, or pass it on", *_of(Next.RAISE, *_of(Next.PROPAGATE))],
            COLOURS[Kind.DISABLED],
        ),
        _box(745, 212, 200, 50, ["no key of it can go:", "leave the stage"]),
        _box(745, 330, 200, 64, ["no stage left: wait for the", "earliest key, if allowed"]),
        _box(745, 450, 200, 50, ["NoAvailableKeyError"], COLOURS[Kind.DISABLED]),
    ]
    arrows = [
        "M200 65 L200 88",
        "M200 150 L200 188",
        "M200 254 L200 293",
        "M200 355 L200 393",
        "M200 455 L200 498",
        "M330 412 Q345 390 358 350",
        "M330 430 L358 430",
        "M330 440 Q340 500 358 520",
        "M485 256 Q485 240 332 240",
        "M610 432 Q628 432 628 400 L628 260 Q628 224 600 224 L332 224",
        "M330 204 L643 204",
        "M745 187 Q745 125 690 125 L332 125",
        "M745 237 L745 296",
        "M845 330 Q866 330 866 300 L866 140 Q866 108 830 108 L332 108",
        "M745 362 L745 423",
    ]
    labels = [
        _text(560, 143, ["a further stage"], FAINT),
        _text(600, 98, ["a new pass"], FAINT),
        _text(755, 270, ["none"], FAINT, "start"),
        _text(755, 398, ["too long"], FAINT, "start"),
    ]
    parts = [*map(_arrow, arrows), *boxes, *labels]
    return _svg(880, 595, "The path of a call", parts)


def _of(following: Next, *more: str) -> list[str]:
    """The outcomes after which a call goes on like that, two to a line."""
    names = [str(outcome) for outcome in Outcome if FAULTS[outcome].call is following]
    names += more
    return [", ".join(names[first : first + 2]) for first in range(0, len(names), 2)]


# -- limits

RPM, MINUTE = 60.0, 60.0
TAKEN_AT = (8, 8, 8, 11, 12, 14, 17, 21, 22, 24, 25, 29, 30, 31, 33, 36, 41, 42)  # seconds
RING, HOLE, BAND = (220, 330), 56, 100  # centre, radii


def limits() -> str:
    """concepts/limits.svg: a request's way through the limits, and a limit of a minute."""
    meter = Meter(REQUESTS, RPM, None, MINUTE, 0)
    for second in TAKEN_AT:
        meter.take(1, float(second))
    boxes = [
        _box(125, 60, 210, 64, ["estimate the request:", "its prompt, and max_tokens"]),
        _box(385, 60, 210, 64, ["room in every limit of the", "key, model, group, pool?"]),
        _box(
            640,
            60,
            190,
            64,
            ["reserve in all of them,", "in one step, and send"],
            COLOURS[Kind.ACTIVE],
        ),
        _box(875, 60, 170, 64, ["settle: the usage", "that came back"]),
        _box(
            385,
            165,
            210,
            50,
            ["the next key, the next", "stage, or wait in order"],
            COLOURS[Kind.COOLDOWN],
        ),
    ]
    arrows = [
        "M230 60 L278 60",
        "M490 60 L543 60",
        "M735 60 L788 60",
        "M385 92 L385 138",
        "M640 92 L640 222",
        "M615 92 Q600 230 318 278",
        "M875 92 L875 345 L735 345",
    ]
    labels = [
        _text(515, 52, ["yes"], FAINT),
        _text(400, 120, ["no"], FAINT, "start"),
        _text(650, 160, ["takes from both"], FAINT, "start"),
        _text(885, 200, ["gives back what", "was not used,", "or takes more"], FAINT, "start"),
        _text(RING[0], RING[1] - 4, [f"{meter.total} of {RPM:g}", "requests"], INK),
        _text(
            RING[0],
            455,
            [
                "The ring guards the limit: no minute, wherever",
                "it begins, holds more. A slot is a second.",
            ],
            INK,
        ),
        _text(640, 455, _bucket_words(), INK),
    ]
    parts = [*_ring(meter), *_bucket(), *map(_arrow, arrows), *boxes, *labels]
    return _svg(1020, 500, "What a request takes of a limit and gives back", parts)


def _ring(meter: Meter) -> list[str]:
    """A sector for each slot, dark where something was taken."""
    count = len(meter.ring)
    return [
        f'<path d="{_sector(place / count, (place + 1) / count)}" '
        f'fill="{COLOURS[Kind.QUARANTINE] if taken else FILL}" stroke="{FAINT}"/>'
        for place, taken in enumerate(meter.ring)
    ]


def _sector(first: float, last: float) -> str:
    """A path between two parts of a turn, clockwise from the top."""

    def point(turn: float, radius: int) -> str:
        angle = 2 * math.pi * turn
        return f"{RING[0] + radius * math.sin(angle):.1f} {RING[1] - radius * math.cos(angle):.1f}"

    outer = f"M{point(first, BAND)} A{BAND} {BAND} 0 0 1 {point(last, BAND)}"
    return f"{outer} L{point(last, HOLE)} A{HOLE} {HOLE} 0 0 0 {point(first, HOLE)} Z"


def _bucket() -> list[str]:
    return [
        f'<path d="M552 300 L728 300 L718 420 L562 420 Z" fill="{COLOURS[Kind.PROBATION]}"/>',
        f'<path d="M545 225 L562 420 L718 420 L735 225" fill="none" stroke="{INK}" \
stroke-width="2"/>',
        _text(640, 350, ["may go at once"], INK),
        _text(640, 258, ["refills at", "the limit's rate"], FAINT),
    ]


def _bucket_words() -> list[str]:
    seconds = MINUTE * BURST_SHARE
    held = f"it holds {seconds:g} s of the rate, {FEWEST_REQUESTS:g} requests at least."
    return ["The smoothing bucket spreads it:", held]


# -- one state for many workers


def shared_state() -> str:
    """concepts/shared-state.svg."""
    boxes = [
        _box(
            140,
            60,
            220,
            84,
            ["worker", "any process, any machine:", "same file, same namespace"],
        ),
        _box(
            440,
            60,
            220,
            84,
            ["worker", "many calls of one turn of its", "event loop: one round trip"],
        ),
        _box(
            740,
            60,
            220,
            84,
            [
                "a worker that is cut off",
                "goes on from what it knows,",
                "with its part of each limit",
            ],
            COLOURS[Kind.COOLDOWN],
        ),
        _box(
            440,
            300,
            480,
            104,
            [
                "Redis",
                "rests, trials, outages, operators' words",
                "what is taken of every limit, and by whom; counts",
                "its own clock; no secrets; a time to live on everything",
            ],
            COLOURS[Kind.PROBATION],
        ),
    ]
    arrows = [
        "M110 102 L240 246",
        "M270 246 L150 104",
        "M425 102 L425 246",
        "M455 246 L455 104",
    ]
    labels = [
        _text(160, 190, ["before a call:", "which key may go?"], FAINT, "end"),
        _text(465, 150, ["what changed: a key rests,", "a limit has room again"], FAINT, "start"),
        _text(415, 200, ["after it: how it ended,", "what it used"], FAINT, "end"),
        _text(690, 215, ["shares again when", "Redis is back"], FAINT, "start"),
    ]
    cut = (
        f'<path d="M700 102 L620 246" stroke="{FAINT}" stroke-width="1.5" stroke-dasharray="6 6"/>'
    )
    return _svg(
        880, 370, "What workers share through Redis", [*map(_arrow, arrows), cut, *boxes, *labels]
    )


# -- SVG


def _svg(width: int, height: int, title: str, parts: Iterable[str]) -> str:
    body = "\n".join(part for part in parts if part)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" \
font-family="sans-serif" font-size="14" role="img">
<title>{title}</title>
<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" \
orient="auto"><path d="M0 0 L10 5 L0 10 z" fill="{FAINT}"/></marker></defs>
<rect width="{width}" height="{height}" fill="#ffffff"/>
{body}
</svg>
"""


def _arrow(path: str) -> str:
    line = f'fill="none" stroke="{FAINT}" stroke-width="1.5"'
    return f'<path d="{path}" {line} marker-end="url(#head)"/>'


def _box(x: int, y: int, width: int, height: int, lines: list[str], fill: str = FILL) -> str:
    corner = f'x="{x - width // 2}" y="{y - height // 2}" width="{width}" height="{height}" rx="8"'
    first = y + 5 - 9 * (len(lines) - 1)
    return f'<rect {corner} fill="{fill}" stroke="{INK}"/>\n{_text(x, first, lines, INK)}'


def _text(x: int, y: int, lines: list[str], colour: str, anchor: str = "middle") -> str:
    rows = "".join(
        f'<tspan x="{x}" dy="{18 if number else 0}">{line}</tspan>'
        for number, line in enumerate(lines)
    )
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{rows}</text>'


__all__ = ["call", "health_machine", "limits", "shared_state", "transitions"]
