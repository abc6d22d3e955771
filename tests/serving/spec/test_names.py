from __future__ import annotations

from collections.abc import Callable

import pytest

from servedeck.serving.spec import names


@pytest.mark.parametrize("name", ["a", "my-model-v1", "llm-server-prod", "7b", "a--b", "a" * 63])
def test_good_labels(name: str) -> None:
    assert names.validate_label(name) == ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "missing"),
        ("-a", "start with a hyphen"),
        ("a-", "end with a hyphen"),
        ("My-Model", "write 'my-model'"),
        ("my_model", "not '_'"),
        ("my model", "not ' '"),
        ("a.b", "not '.'"),
        ("é", "not 'é'"),
        ("٣", "not '٣'"),
        ("a\n", "not '\\n'"),
        ("a" * 64, "64 characters; shorten it to 63"),
    ],
)
def test_bad_labels_say_what_and_how(name: str, words: str) -> None:
    assert words in names.validate_label(name, "The name")
    assert names.validate_label(name).endswith(".")


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (
            names.validate_subdomain,
            ["a", "a.b-c.d", "a" * 253],
            ["", "a..b", ".a", "a-.b", "A", "a" * 254],
        ),
        (names.validate_host, ["a.example.com", "*.example.com"], ["", "*", "a.*.com", "-a.com"]),
        (
            names.validate_env_name,
            ["A", "_a", "a.b", "A-B", "a" * 256],
            ["", "1A", "A B", "A=", "..", "..a", "é", "a" * 257],
        ),
        (
            names.validate_config_key,
            ["token", ".netrc", "a_b-c.d"],
            ["", ".", "..a", "a/b", "a" * 254],
        ),
        (
            names.validate_image,
            [
                "nginx",
                "nginx:1",
                "a/b/c:v1.0_x",
                "localhost:5000/a",
                "Registry.Example.com/a",
                "[::1]:5000/a",
                "a@sha256:" + "0" * 64,
                "a:b@sha256:" + "0" * 64,
            ],
            ["", " a", "a b", "A", "a:", "a:-x", "http://a/b", "a//b", "a@sha256:12", "a/"],
        ),
        (
            names.validate_resource_name,
            ["nvidia.com/gpu", "rebellions.ai/ATOM", "nvidia.com/mig-1g.10gb", "a.b/c_d"],
            ["", "gpu", "nvidia.com/", "/gpu", "cpu", "a.b/c/d", "kubernetes.io/x", "rdma/hca"],
        ),
    ],
)
def test_names(check: Callable[[str], str], good: list[str], bad: list[str]) -> None:
    assert [one for one in good if check(one)] == []
    assert [one for one in bad if not check(one)] == []
    assert all(check(one).endswith(".") for one in bad)
