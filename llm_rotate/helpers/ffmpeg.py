"""Long recordings cut where nobody speaks, by ffmpeg."""

from __future__ import annotations

import asyncio
import csv
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigurationError

# Below this loudness for so many seconds, it is silence: speech is some 30 dB louder.
_SILENCE = "silencedetect=noise=-35dB:d=0.4"
_START = re.compile(r"silence_start: (-?[\d.]+)")
_END = re.compile(r"silence_end: (-?[\d.]+)")
_LENGTH = re.compile(r"out_time_us=(\d+)")
# Pieces are what speech models hear in the end: one channel of 16,000 samples a second. FLAC
# loses nothing of it and never gets larger than its samples of two bytes.
_RATE = 16_000
_AS_HEARD = ("-ac", "1", "-ar", str(_RATE), "-sample_fmt", "s16", "-c:a", "flac")
_ROOM = 0.95  # of the limit: the rest is for headers


@dataclass(frozen=True, slots=True)
class Piece:
    """``start``, ``end``: seconds in the whole recording."""

    path: Path
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Heard:
    """``length`` in seconds; ``silences``: from, to."""

    length: float
    silences: Sequence[tuple[float, float]]


def ffmpeg() -> str:
    """The command. Raises ConfigurationError if it is not installed."""
    found = shutil.which("ffmpeg")
    if found is None:
        raise ConfigurationError(
            "split=True needs the program ffmpeg (https://ffmpeg.org), which is not on the PATH: "
            "install it, or send the recording in pieces of your own"
        )
    return found


def longest_s(most: int) -> float:
    """Seconds that a piece of ``most`` bytes holds, at worst."""
    return most * _ROOM / (2 * _RATE)


async def split(path: Path, most: int, folder: Path) -> Sequence[Piece]:
    """Pieces of at most ``most`` bytes, in ``folder``. Raises ConfigurationError."""
    heard = await _listen(path)
    cuts = cut_points(heard, longest_s(most))
    return await _cut(path, cuts, folder)


def cut_points(heard: Heard, longest: float) -> Sequence[float]:
    """Where to cut, in seconds: in the last silence of the second half of what a piece may
    hold; without one, at its end.
    """
    cuts, start = [], 0.0
    while heard.length - start > longest:
        middles = ((begin + end) / 2 for begin, end in heard.silences)
        fit = [middle for middle in middles if start + longest / 2 < middle <= start + longest]
        start = fit[-1] if fit else start + longest
        cuts.append(start)
    return cuts


async def _listen(path: Path) -> Heard:
    told, said = await _run(
        *_input(path), "-af", _SILENCE, "-progress", "pipe:1", "-f", "null", "-"
    )  # fmt: skip
    length = max((int(found) for found in _LENGTH.findall(told)), default=0) / 1e6
    begins = [float(found) for found in _START.findall(said)]
    ends = [float(found) for found in _END.findall(said)]
    return Heard(length, list(zip(begins, [*ends, length], strict=False)))


async def _cut(path: Path, cuts: Sequence[float], folder: Path) -> Sequence[Piece]:
    listed = folder / "pieces.csv"
    await _run(
        *_input(path),
        *_AS_HEARD,
        "-f", "segment",
        "-segment_times", ",".join(f"{cut:.3f}" for cut in cuts),
        "-segment_list", str(listed),
        "-segment_list_type", "csv",
        str(folder / "%05d.flac"),
    )  # fmt: skip
    with listed.open(newline="", encoding="utf-8") as rows:
        return [
            Piece(folder / Path(name).name, float(start), float(end))
            for name, start, end in csv.reader(rows)
        ]


def _input(path: Path) -> Sequence[str]:
    """The first track of sound, from a file and nothing that merely looks like a URL."""
    quiet = ("-hide_banner", "-nostdin", "-nostats", "-y")
    return (*quiet, "-i", f"file:{path.absolute()}", "-map", "0:a:0")


async def _run(*words: str) -> tuple[str, str]:
    """What ffmpeg printed, and what it said beside. It ends when the call is cancelled."""
    command = (ffmpeg(), *words)
    process = await asyncio.to_thread(
        lambda: subprocess.Popen(  # noqa: S603 - our own words, and a path
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    )
    try:
        printed, beside = await asyncio.to_thread(process.communicate)
    finally:
        if process.poll() is None:
            process.kill()
    said = beside.decode("utf-8", "replace")
    if process.returncode:
        last = (said.strip().splitlines() or ["it did not say why"])[-1]
        raise ConfigurationError(f"ffmpeg cannot split the recording: {last}")
    return printed.decode("utf-8", "replace"), said
