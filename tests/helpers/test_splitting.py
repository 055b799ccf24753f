"""Long recordings: cut where nobody speaks, sent in pieces, joined with the times of the whole."""

from __future__ import annotations

import io
import itertools
import math
import shutil
import struct
import sys
import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_rotate import ConfigurationError, LMRotate, TranscriptionResponse, Usage
from llm_rotate.helpers.ffmpeg import Heard, Piece, cut_points, longest_s
from llm_rotate.helpers.transcription import joined

# A stand-in for ffmpeg: the same words in, the same words and files out. Of the recording it
# knows its length and where it is silent, which stand in its first line.
FAKE = """#!{python}
import pathlib, sys
words = sys.argv[1:]
log = pathlib.Path(__file__).parent / "log"
log.open("a").write(" ".join(words) + "\\n")
path = words[words.index("-i") + 1].removeprefix("file:")
first = open(path, "rb").readline().decode()
if not first.startswith("fake "):
    sys.exit("Invalid data found when processing input")
length, *silences = (float(word) for word in first.split()[1:])
if "silencedetect" in " ".join(words):
    for middle in silences:
        print(f"[silencedetect @ 0x1] silence_start: {{middle - 0.5}}", file=sys.stderr)
        print(f"[silencedetect @ 0x1] silence_end: {{middle + 0.5}} | silence_duration: 1", file=sys.stderr)
    print(f"out_time_us={{int(length * 1e6)}}")
else:
    at = words[words.index("-segment_times") + 1]
    cuts = [0.0, *(float(cut) for cut in at.split(",")), length]
    folder = pathlib.Path(words[-1]).parent
    with open(words[words.index("-segment_list") + 1], "w") as listed:
        for number, (start, end) in enumerate(zip(cuts, cuts[1:])):
            (folder / f"{{number:05d}}.flac").write_bytes(b"fLaC" + bytes(int(32000 * (end - start))))
            listed.write(f"{{number:05d}}.flac,{{start:.6f}},{{end:.6f}}\\n")
"""


@pytest.fixture
def fake_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "ffmpeg"
    command.write_text(FAKE.format(python=sys.executable))
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def recording(length: float, *silences: float) -> bytes:
    head = " ".join(["fake", str(length), *map(str, silences)]) + "\n"
    return head.encode() + bytes(int(32_000 * length))


MOST = 400_000  # bytes: 11.875 s of what is sent


def transcribe(lm: LMRotate, audio: object, **keywords: object) -> TranscriptionResponse:
    given = {"split": True, "max_transcription_bytes": MOST, **keywords}
    return lm.transcribe_sync(given.pop("model", "whisper-1"), audio, **given)


@pytest.mark.parametrize("kind", ["path", "bytes", "file"])
def test_a_long_recording_is_cut_in_silences_and_joined(llm_simulator, fake_ffmpeg, tmp_path, kind):
    data = recording(29.5, 3.0, 8.0, 11.0, 18.0, 27.0)
    path = tmp_path / "talk.wav"
    path.write_bytes(data)
    given = {"path": path, "bytes": data, "file": io.BytesIO(data)}[kind]
    llm_simulator.says(lambda name: f"part {int(name[:5])}")
    response = transcribe(llm_simulator.pool(["k1", "k2"]), given)
    assert response.text == "part 0 part 1 part 2"
    times = [(each["id"], each["start"], each["end"], each["text"]) for each in response.segments]
    assert times == [
        (0, 0.0, 1.0, "part"), (1, 1.0, 2.0, " 0"),
        (2, 11.0, 12.0, "part"), (3, 12.0, 13.0, " 1"),
        (4, 18.0, 19.0, "part"), (5, 19.0, 20.0, " 2"),
    ]  # fmt: skip
    assert response.duration_s == 29.5
    assert response.language == "english"
    assert len(response.attempts) == len(response.raw["pieces"]) == llm_simulator.requests() == 3
    assert all(seen.body["file"]["size"] <= MOST for seen in llm_simulator.log)


def test_where_nobody_is_silent_it_is_cut_at_the_longest(llm_simulator, fake_ffmpeg):
    response = transcribe(llm_simulator.pool(["k1"]), recording(30))
    assert llm_simulator.requests() == 3
    starts = [each["start"] for each in response.segments if each["text"] == "You"]
    assert starts == pytest.approx([0.0, longest_s(MOST), 2 * longest_s(MOST)])


def test_a_model_without_times_gets_those_of_the_pieces(llm_simulator, fake_ffmpeg):
    llm_simulator.says("words")
    lm = llm_simulator.pool(["k1"])
    response = transcribe(lm, recording(20, 9.0), model="gpt-4o-transcribe")
    assert response.segments == [
        {"id": 0, "start": 0.0, "end": 9.0, "text": "words"},
        {"id": 1, "start": 9.0, "end": 20.0, "text": "words"},
    ]
    assert response.usage.completion_tokens == llm_simulator.tokens() == 2


def test_a_recording_that_fits_is_sent_as_it_is(llm_simulator, fake_ffmpeg):
    transcribe(llm_simulator.pool(["k1"]), recording(10, 5.0))
    assert llm_simulator.requests() == 1
    assert not (fake_ffmpeg / "log").exists()


def test_a_piece_that_fails_fails_the_whole_and_leaves_nothing(llm_simulator, fake_ffmpeg):
    llm_simulator.key("k1").then(200).then(400)
    with pytest.raises(Exception, match="told to answer 400"):
        transcribe(llm_simulator.pool(["k1"]), recording(60))
    assert llm_simulator.wait_idle()
    assert not list(Path(__import__("tempfile").gettempdir()).glob("llm-rotate-*"))


def test_what_ffmpeg_cannot_read_is_told_in_its_words(llm_simulator, fake_ffmpeg):
    with pytest.raises(ConfigurationError, match="Invalid data found"):
        transcribe(llm_simulator.pool(["k1"]), b"x" * (MOST + 1))
    assert llm_simulator.requests() == 0


def test_without_ffmpeg_the_error_says_what_to_install(llm_simulator, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match="needs the program ffmpeg"):
        transcribe(llm_simulator.pool(["k1"]), recording(30))
    assert llm_simulator.requests() == 0


def test_subtitles_cannot_be_joined_and_that_is_said_first(llm_simulator, fake_ffmpeg):
    with pytest.raises(ConfigurationError, match="cannot join response_format='srt'"):
        transcribe(llm_simulator.pool(["k1"]), recording(30), response_format="srt")


# -- where to cut


@given(
    st.floats(0.0, 5000.0),
    st.lists(st.floats(0.0, 5000.0), max_size=30),
    st.floats(1.0, 800.0),
)
def test_no_piece_is_longer_than_it_may_be_and_none_is_empty(length, starts, longest):
    silences = [(start, start + 1.0) for start in sorted(starts)]
    cuts = cut_points(Heard(length, silences), longest)
    edges = [0.0, *cuts, length]
    lengths = [end - start for start, end in itertools.pairwise(edges)]
    assert all(0.0 < each <= longest + 1e-6 for each in lengths) or length == 0.0
    assert len(cuts) <= math.ceil(2 * length / longest)


def test_the_last_silence_that_fits_is_taken():
    heard = Heard(20.0, [(1.0, 2.0), (5.9, 6.1), (8.0, 9.0), (10.5, 11.0)])
    assert cut_points(heard, 10.0) == [8.5, 18.5]
    assert cut_points(Heard(20.0, [(1.0, 2.0)]), 10.0) == [10.0]


def test_words_are_moved_too_and_usage_adds_up():
    answers = [
        TranscriptionResponse(
            "a", usage=Usage(1, 2, 3, audio_tokens=1), words=[{"word": "a", "start": 0.5, "end": 1}]
        )
        for _ in range(2)
    ]
    pieces = [Piece(Path("0"), 0.0, 4.0), Piece(Path("1"), 4.0, 6.0)]
    whole = joined(answers, pieces)
    assert [(word["start"], word["end"]) for word in whole.words] == [(0.5, 1.0), (4.5, 5.0)]
    assert whole.usage == Usage(2, 4, 6, audio_tokens=2)


# -- the real one, where it is installed


def tones(*spans: tuple[float, bool]) -> bytes:
    """A WAV file: seconds of a tone, or of silence."""
    raw = bytearray()
    for seconds, is_loud in spans:
        for at in range(int(seconds * 8000)):
            raw += struct.pack("<h", int(12_000 * math.sin(at / 5)) if is_loud else 0)
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(raw))
    return made.getvalue()


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_the_real_ffmpeg_cuts_in_the_silences(llm_simulator):
    sound = tones((4, True), (1, False), (3, True), (1, False), (5, True), (1, False), (2, True))
    llm_simulator.says("x")
    most = int(32_000 * 6 / 0.95)  # pieces of at most 6 s
    response = transcribe(llm_simulator.pool(["k1"]), sound, max_transcription_bytes=most)
    starts = [each["start"] for each in response.segments]
    assert starts == pytest.approx([0.0, 4.5, 8.5, 14.5], abs=0.3)
    assert response.duration_s == pytest.approx(17.0, abs=0.1)
    assert all(seen.body["file"]["size"] <= most for seen in llm_simulator.log)
