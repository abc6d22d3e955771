"""Requests of servers that are sent files, or answer with one."""

from __future__ import annotations

import json
import shlex

import pytest

from servedeck.serving.client_examples import (
    curl_command,
    primary_api_path,
    proxy_request_command,
)
from servedeck.serving.inference_request import make_inference_request


@pytest.mark.parametrize(
    ("template", "path", "parts"),
    [
        ("speaches", "/v1/audio/transcriptions", ["file=@audio.wav", "model=org/it's"]),
        ("whisper.cpp", "/inference", ["file=@audio.wav"]),
        ("whisper-asr", "/asr", ["audio_file=@audio.wav"]),
    ],
)
def test_audio_is_uploaded(template: str, path: str, parts: list[str]) -> None:
    assert primary_api_path(template, "org/it's") == path
    for line in (
        curl_command("https://ai.example.com", path, "org/it's"),
        proxy_request_command("/api/v1/p", path, "org/it's"),
    ):
        words = shlex.split(line.replace("\\\n", " ").replace(";", " "))
        found = [words[at + 1] for at, word in enumerate(words) if word == "-F"]
        assert found == parts
        assert "-d" not in words and "-X" not in words


@pytest.mark.parametrize(
    ("template", "model", "body", "file"),
    [
        ("kokoro", "", {"model": "tts-1", "input": "Hello", "voice": "alloy"}, "speech.mp3"),
        ("openedai-speech", "a", {"model": "a", "input": "Hello", "voice": "alloy"}, "speech.mp3"),
        ("stable-diffusion.cpp", "m", {"prompt": "Hello", "model": "m"}, "image.json"),
        ("weaviate-transformers", "", {"text": "Hello"}, "vector.json"),
    ],
)
def test_an_answer_is_kept_in_a_file(
    template: str, model: str, body: dict[str, str], file: str
) -> None:
    line = curl_command("https://ai.example.com", primary_api_path(template, model), model)
    words = shlex.split(line.replace("\\\n", " "))
    assert json.loads(words[words.index("-d") + 1]) == body
    assert words[-2:] == ["-o", file]


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("speaches", "/v1/models"),
        ("kokoro", "/v1/audio/voices"),
        ("whisper.cpp", "/health"),
        ("whisper-asr", "/"),
    ],
)
def test_the_request_of_the_page_sends_no_files(template: str, path: str) -> None:
    found = make_inference_request(template, "org/m", "Hello", 16)
    assert (found.method, found.path) == ("GET", path)
