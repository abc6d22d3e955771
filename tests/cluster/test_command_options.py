"""The options with which a command names its cluster."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from servedeck.cluster.command_options import CommandOptions

OPTIONS = CommandOptions("prod", "/etc/kube/my config")
TEXT = "--kubeconfig '/etc/kube/my config' --context prod"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("kubectl -n chat get pods", f"kubectl {TEXT} -n chat get pods"),
        ("servedeck port-forward chat/a", f"servedeck {TEXT} port-forward chat/a"),
        (
            "kubectl -n a label x && kubectl -n a expose x",
            f"kubectl {TEXT} -n a label x && kubectl {TEXT} -n a expose x",
        ),
        (
            "pause it first: kubectl -n a annotate b",
            f"pause it first: kubectl {TEXT} -n a annotate b",
        ),
        ("denied the request: kubectl changes are forbidden", ""),
        ("denied: servedeck may not do that", ""),
        ("kubectl", ""),
        ("", ""),
    ],
)
def test_only_commands_get_them(text: str, wanted: str) -> None:
    assert OPTIONS.add_to(text) == (wanted or text)
    assert CommandOptions().add_to(text) == text


def test_a_program_gets_names_as_they_are_and_the_screen_gets_no_control_characters() -> None:
    options = CommandOptions("prod\x1b[31m ⚠️", "/a  b")
    assert options.words == ("--kubeconfig", "/a  b", "--context", "prod\x1b[31m ⚠️")
    assert "\x1b" not in options.add_to("kubectl get pods")
    assert shlex.split(options.add_to("kubectl get pods"))[3] == "--context"


def test_a_kubeconfig_is_found_from_any_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert CommandOptions.of("c", (Path("kubeconfig"),)).kubeconfig == str(tmp_path / "kubeconfig")


def test_a_service_account_has_no_kubeconfig() -> None:
    assert CommandOptions.of("in-cluster", None).words == ()
