"""Recordings as text: whatever they come as, through the same loop, never too large."""

from __future__ import annotations

import asyncio
import io
import os
import threading

import pytest

from llm_rotate import (
    CapabilityError,
    ConfigurationError,
    RequestTooLargeError,
    TranscriptionResponse,
)
from tests.behaviours.world import World

WAV = b"RIFF\x00\x00\x00\x00WAVEfmt " + b"\x01" * 1000


def transcribe(world: World, audio, model: str = "whisper-1", **keywords) -> TranscriptionResponse:
    return world.run(lambda: world.lm.transcribe(model, audio, **keywords))


def sent_file(world: World) -> dict:
    return world.sim.log[-1].body["file"]


def test_a_path_becomes_text_with_language_length_times_and_where_it_came_from(tmp_path):
    (tmp_path / "talk.wav").write_bytes(WAV)
    world = World(["k1"])
    world.sim.says("good morning")
    response = transcribe(world, tmp_path / "talk.wav", language="english")
    assert response.text == "good morning"
    assert (response.language, response.duration_s) == ("english", 2.0)
    assert [each["start"] for each in response.segments] == [0.0, 1.0]
    assert (response.provider, response.key_id, response.model) == ("openai", "k1", "whisper-1")
    assert response.request_id
    assert response.attempts[-1].outcome == "ok"
    assert sent_file(world) == {"filename": "talk.wav", "size": len(WAV)}
    assert world.lm.usage_summary_sync()["by_key"]["k1"]["successes"] == 1


def test_a_newer_model_counts_tokens():
    world = World(["k1"])
    response = transcribe(world, WAV, "gpt-4o-transcribe")
    assert response.usage.completion_tokens == world.sim.tokens() > 0
    assert response.segments == []


class Unrewindable(io.RawIOBase):
    """A pipe: it can be read once."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)
        self.taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, into) -> int:
        count = self._data.readinto(into)
        self.taken += count
        return count


@pytest.mark.parametrize(
    "made",
    [
        str,
        lambda path: path,
        lambda path: WAV,
        lambda path: bytearray(WAV),
        lambda path: memoryview(WAV),
        lambda path: io.BytesIO(WAV),
        lambda path: Unrewindable(WAV),
        lambda path: io.BytesIO(b"before" + WAV),
    ],
    ids=["str", "path", "bytes", "bytearray", "memoryview", "file", "pipe", "file half read"],
)
def test_B04_paths_bytes_and_files_work_and_can_be_sent_again(tmp_path, made):
    path = tmp_path / "recording.wav"
    path.write_bytes(WAV)
    given = made(path)
    if isinstance(given, io.BytesIO) and given.getvalue() != WAV:
        given.seek(len(b"before"))
    world = World(["k1", "k2"], strategy="priority", priorities={"k1": 1})
    world.sim.key("k1").rate_limit(retry_after=7)
    response = transcribe(world, given)
    assert response.key_id == "k2"
    files = [seen.body["file"] for seen in world.sim.log]
    assert files == [{"filename": "recording.wav", "size": len(WAV)}] * 2


def test_an_open_file_stays_the_callers(tmp_path):
    (tmp_path / "x.mp3").write_bytes(b"ID3" + WAV)
    with (tmp_path / "x.mp3").open("rb") as file:
        world = World(["k1"])
        transcribe(world, file)
        assert not file.closed
    assert sent_file(world) == {"filename": "x.mp3", "size": len(WAV) + 3}


def test_a_given_filename_is_what_the_provider_hears():
    world = World(["k1"])
    transcribe(world, b"whatever", filename="voice.ogg")
    assert sent_file(world)["filename"] == "voice.ogg"


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (b"ID3\x04", ".mp3"),
        (b"\xff\xfb\x90", ".mp3"),
        (b"fLaC", ".flac"),
        (b"OggS", ".ogg"),
        (b"\x00\x00\x00\x20ftypM4A ", ".m4a"),
        (b"\x1aE\xdf\xa3", ".webm"),
        (b"????", ""),
    ],
)
def test_bytes_without_a_name_get_one_by_what_they_begin_with(begin, end):
    world = World(["k1"])
    transcribe(world, begin + b"...")
    assert sent_file(world)["filename"] == f"recording{end}"


# -- sizes


class Untouchable(io.BytesIO):
    """A file larger than any limit that must not be read, beyond its first bytes."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size
        self._at = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset if whence == os.SEEK_SET else self._size
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None
        assert 0 <= size <= 16, "it was read"
        return b"RIFF"


LIMIT = 25 * 1024 * 1024


def sparse(path, size: int):
    with path.open("wb") as file:
        file.truncate(size)
    return path


def test_B04_what_is_over_the_providers_limit_is_refused_before_it_is_read(tmp_path):
    world = World()
    for given in (sparse(tmp_path / "long.wav", LIMIT + 1), Untouchable(LIMIT + 1)):
        with pytest.raises(ConfigurationError, match=r"26,214,401 bytes.*26,214,400 is the most"):
            transcribe(world, given)
        with pytest.raises(ValueError, match="split=True"):
            transcribe(world, given)
    assert world.sim.requests() == 0


def test_B04_a_pipe_is_read_no_further_than_the_limit():
    pipe = Unrewindable(b"x" * 3_000_000)
    with pytest.raises(ConfigurationError, match="1,000,000 is the most"):
        transcribe(World(), pipe, max_transcription_bytes=1_000_000)
    assert pipe.taken < 1_600_000


def test_B04_the_callers_limit_counts_instead_of_the_providers(tmp_path):
    world = World(["k1"])
    with pytest.raises(ConfigurationError, match="5 is the most"):
        transcribe(world, b"123456", max_transcription_bytes=5)
    with pytest.raises(Exception, match="Maximum content size"):  # the server's own words
        transcribe(world, sparse(tmp_path / "a.wav", LIMIT + 1), max_transcription_bytes=None)
    assert world.sim.requests() == 1


def test_a_stage_whose_limit_is_smaller_is_skipped(tmp_path):
    def small(config):
        config.providers["openai"].flags["audio_bytes"] = 100
        return config

    chains = {"openai": [{"provider": "groq", "model": "whisper-large-v3"}]}
    world = World({"k1": "openai", "g1": "groq"}, fallback_chains=chains, edit=small)
    response = transcribe(world, WAV)
    assert (response.provider, response.attempts[0].outcome) == ("groq", "skipped")
    assert "100 is the most" in response.attempts[0].message


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("/nowhere/a.wav", "cannot be read: No such file"),
        (b"", "is empty"),
        (io.StringIO("text"), "'rb'"),
        (7, "not int"),
        (None, "not NoneType"),
        ("a\0b", "cannot be read"),
    ],
)
def test_what_is_no_recording_is_refused_at_once(given, words):
    world = World()
    with pytest.raises(ConfigurationError, match=words):
        transcribe(world, given)
    assert world.sim.requests() == 0


def test_a_folder_and_a_closed_file_are_no_recordings(tmp_path):
    with pytest.raises(ConfigurationError, match="is no file"):
        transcribe(World(), tmp_path)
    (tmp_path / "a.wav").write_bytes(WAV)
    with (tmp_path / "a.wav").open("rb") as file:
        pass
    with pytest.raises(ConfigurationError, match=r"a\.wav"):
        transcribe(World(), file)


def test_a_file_that_changes_under_the_call_is_an_error_of_nobodys_key(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(WAV)
    world = World(["k1"])
    told = world.sim.key("k1")
    told.then(503)

    async def scenario():
        with world.lm.listen(lambda event: path.write_bytes(b"x")):
            await world.lm.transcribe("whisper-1", path)

    with pytest.raises(ConfigurationError, match="became shorter"):
        world.run(scenario)
    key = world.lm.health_sync().providers["openai"].keys["k1"]
    assert str(key.state) == "active"


def test_a_dialect_without_transcriptions_says_so():
    world = World(["a1"], provider="anthropic")
    with pytest.raises(CapabilityError, match="anthropic cannot carry transcriptions"):
        transcribe(world, WAV, "claude-haiku-4-5")


def limited_to_a_thousand_tokens():
    def limited(config):
        config.keys[0].limits.tpm = 1000
        return config

    return World(["k1"], edit=limited)


def test_its_size_counts_against_the_keys_tokens():
    world = limited_to_a_thousand_tokens()
    with pytest.raises(RequestTooLargeError):
        transcribe(world, b"x" * 2_000_000, "gpt-4o-transcribe")
    assert world.sim.requests() == 0


def test_whisper_counts_no_tokens():
    world = limited_to_a_thousand_tokens()

    async def scenario():
        for _ in range(5):
            await world.lm.transcribe("whisper-1", b"x" * 2_000_000)

    began = world.clock.now()
    world.run(scenario)
    assert world.sim.requests() == 5
    assert world.clock.now() - began < 1


def test_the_sync_twin_over_a_real_socket(llm_simulator, tmp_path):
    path = tmp_path / "a.flac"
    path.write_bytes(b"fLaC" + os.urandom(700_000))
    lm = llm_simulator.pool(["k1"])
    assert lm.transcribe_sync("whisper-1", path).text == "You said: a.flac"
    assert llm_simulator.log[-1].body["file"]["size"] == 700_004


def test_gemini_hears_recordings_too(llm_simulator, tmp_path):
    path = tmp_path / "talk.wav"
    path.write_bytes(WAV)
    llm_simulator.says("good morning")
    llm_simulator.key("k1").rate_limit(retry_after=7)
    lm = llm_simulator.pool(
        ["k1", "k2"], provider="google_ai_studio", strategy="priority", priorities={"k1": 1}
    )
    response = lm.transcribe_sync("gemini-2.5-flash", path)
    assert (response.text, response.key_id) == ("good morning", "k2")
    assert response.usage.total_tokens == llm_simulator.tokens() > 0
    [first, second] = [seen.body["contents"][0]["parts"][0] for seen in llm_simulator.log]
    assert first == second
    assert first["inlineData"]["mimeType"] == "audio/wav"


def test_a_pipe_that_never_ends_can_be_left(llm_simulator):
    """The call ends at once; its copy on disk is closed, which ends the copying."""
    lm = llm_simulator.pool(["k1"])
    begun, go_on = threading.Event(), threading.Event()

    class Endless(Unrewindable):
        def readinto(self, into) -> int:
            begun.set()
            assert go_on.wait(5)
            into[:] = bytes(len(into))
            return len(into)

    async def scenario():
        call = asyncio.create_task(lm.transcribe("whisper-1", Endless(b""), split=True))
        await asyncio.to_thread(begun.wait, 5)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        go_on.set()
        await lm.close()

    asyncio.run(scenario())
    assert llm_simulator.requests() == 0
