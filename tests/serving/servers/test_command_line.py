"""Which programs a command line starts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servedeck.serving.servers.command_line import expand_variables, read_commands

SERVE = ("vllm", "serve", "org/m")


def programs(*argv: str, **env: str) -> list[tuple[str, ...]]:
    return [command.words for command in read_commands(argv, env)]


@pytest.mark.parametrize(
    "argv",
    [
        ("vllm", "serve", "org/m"),
        ("env", "A=b", "-u", "X", "vllm", "serve", "org/m"),
        ("tini", "-s", "--", "vllm", "serve", "org/m"),
        ("numactl", "-N", "0", "-m", "0", "vllm", "serve", "org/m"),
        ("timeout", "-s", "KILL", "3600", "vllm", "serve", "org/m"),
        ("uv", "run", "--with", "vllm", "vllm", "serve", "org/m"),
        ("nsys", "profile", "-t", "cuda,nvtx", "-o", "/out", "vllm", "serve", "org/m"),
        ("conda", "run", "-n", "vllm", "vllm", "serve", "org/m"),
        ("mpirun", "--allow-run-as-root", "-n", "2", "vllm", "serve", "org/m"),
        ("sh", "-c", "vllm serve org/m"),
        ("/bin/bash", "-euo", "pipefail", "-c", "vllm serve org/m"),
        ("/bin/sh", "-c", "--", "vllm serve org/m"),
        ("bash", "-lc", "exec vllm serve org/m >> /log 2>&1 &"),
        ("bash", "-c", "bash -c 'sh -c \"vllm serve org/m\"'"),
        ("sh", "-c", 'eval "exec vllm serve org/m"'),
        ("sh", "-c", 'exec "$@"', "--", "vllm", "serve", "org/m"),
        ("sh", "-c", "$0 serve org/m", "vllm"),
        ("sh", "-c", "M=org/m; CMD='vllm serve'\n$CMD $M"),
        ("sh", "-c", 'export M="org/m"\nvllm serve "${M}"'),
        ("sh", "-c", "vllm serve ${MODEL:-org/m} # vllm serve other"),
        ("sh", "-c", "vllm \\\n  serve 'org/m' < /dev/null"),
        ("sh", "-c", "A=1 B=2 nohup vllm serve org/m"),
        ("su", "-", "user", "-c", "vllm serve org/m"),
    ],
)
def test_what_starts_another_program_is_removed(argv: tuple[str, ...]) -> None:
    assert programs(*argv) == [SERVE]


def test_every_command_of_a_script_counts() -> None:
    script = (
        "set -e\n"
        "cat <<EOF > /config\nvllm serve none\nEOF\n"
        'if [ -n "$A" ] && true; then vllm serve a; else (vllm serve b); fi\n'
        'echo "vllm serve none"; wait'
    )
    found = [words for words in programs("sh", "-c", script) if words[0] == "vllm"]
    assert found == [("vllm", "serve", "a"), ("vllm", "serve", "b")]


def test_a_program_that_no_script_starts_has_its_place_in_the_command_line() -> None:
    argv = ("uv", "run", "vllm", "serve", "org/m")
    assert [one.start for one in read_commands(argv, {})] == [2]
    assert [one.start for one in read_commands(("sh", "-c", "vllm serve org/m"), {})] == [None]
    assert [one.start for one in read_commands(("bash", "/run.sh", "x"), {})] == [1]


def test_variables_of_the_container_are_replaced_and_unknown_ones_stay() -> None:
    assert programs("vllm", "serve", "$(M)", M="org/m") == [SERVE]
    assert programs("sh", "-c", "vllm serve $M --port=$P", M="org/m") == [(*SERVE, "--port=$P")]
    assert expand_variables("${A:-x}-${B}-$C", {"B": "b"}) == "x-b-$C"


def test_an_array_or_a_substitution_does_not_hide_the_server() -> None:
    script = "V=$(vllm --version | awk '{print $NF}')\na=()\na+=(\"x\")\nvllm serve org/m"
    assert SERVE in programs("bash", "-c", script)


@pytest.mark.parametrize(
    "script",
    [
        'A=(org/m --port 80)\nexec vllm serve "${A[@]}"',
        "A=(\n  org/m  # the model (small)\n  # --port 1\n  --port 80\n)\nvllm serve ${A[*]}",
        'local A=("org/m"); [ -n "$X" ] && A+=(--port "80"); vllm serve "${A[@]}" "$@"',
        'A=(org/m); B=("${A[@]}" --port 80); vllm serve "${B[@]}"',
        'declare -a A=($M --port "$P")\nvllm serve "${A[@]}"',
        'A=(vllm serve); A+=( org/m --port=80 ); "${A[@]}"',
        'set -- org/m; set -- "$@" --port 80; exec vllm serve "$@"',
        'set -e; set -- --port 80; vllm serve org/m "$@"',
        "cat > /run.sh <<'EOF'\n#!/bin/sh\nexec vllm serve org/m --port 80\nEOF\nbash /run.sh",
        "cat <<EOF >run.sh\nvllm serve org/m --port 80\nEOF\nchmod +x run.sh; exec ./run.sh",
        "tee /a.sh >/dev/null <<E\nvllm serve \\$1 --port 80\nE\nsh -e /a.sh org/m",
        "cat <<E > a.sh\nexport M=org/m\nE\n. ./a.sh; vllm serve $M --port 80",
    ],
)
def test_arguments_that_a_script_collects_and_scripts_that_it_writes(script: str) -> None:
    found = [one for one in programs("bash", "-c", script, M="org/m", P="80") if one[0] == "vllm"]
    assert [[*" ".join(one).replace("=", " ").split()] for one in found] == [
        [*SERVE, "--port", "80"]
    ]


def test_what_is_written_into_a_file_and_not_run_starts_nothing() -> None:
    script = "cat > /a.sh <<E\nvllm serve a\nE\ncat 2>/b.sh <<E\nvllm serve b\nE\nsh /b.sh"
    assert all(one[0] != "vllm" for one in programs("sh", "-c", script))


def test_a_script_that_repeats_itself_ends() -> None:
    doubled = "A=(x); " + 'A=("${A[@]}" "${A[@]}"); ' * 60 + 'vllm serve "${A[@]}"'
    assert len(programs("bash", "-c", doubled)) <= 500
    assert len(programs("sh", "-c", "cat > a <<E\n./a; ./a\nE\n./a")) <= 500
    repeated = 'X=\'eval "$X"; eval "$X"\'; ' + 'eval "$X"; ' * 500
    assert len(programs("sh", "-c", repeated)) <= 500
    assert len(programs("sh", "-c", "A=$A$A$A; " * 1000 + "vllm serve $A", A="x" * 99)) <= 500
    assert programs("sh", "-c", "<<A\n" * 5000) == []


SHELL_TEXT = st.lists(
    st.sampled_from(
        [
            *"'\"\\$(){}|;&<>#`\n =",
            "sh",
            "-c",
            "eval",
            "exec",
            "vllm",
            "serve",
            "$@",
            "${A:-",
            "<<E",
            ">a",
            "./a",
            "A=(",
            "A+=(",
            '"${A[@]}"',
            "set --",
        ]
    )
).map("".join)


@given(st.lists(SHELL_TEXT | st.text()), st.dictionaries(st.sampled_from("AB"), SHELL_TEXT))
def test_any_text_is_read(argv: list[str], env: dict[str, str]) -> None:
    for command in read_commands(argv, env):
        assert command.words
