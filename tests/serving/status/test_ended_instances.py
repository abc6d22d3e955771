from __future__ import annotations

from servedeck.serving.objects.records import Pod
from servedeck.serving.status.ended_instances import (
    LogFinding,
    add_log_findings,
    find_ended_instance,
)
from servedeck.serving.status.pod_diagnosis import diagnose
from tests.serving.factories import NOW, last_terminated, pod, running, terminated, waiting
from tests.serving.status.pod_factory import crashing_pod

SERVER = "inference-server"
LINE = "vllm: error: unrecognized arguments: --omni"
NAMED = "inference-server does not know the arguments --omni (restarted 3 times). Correct"


def finding(given: Pod, line: str = LINE, exit_code: int = 1) -> dict[str, LogFinding]:
    ended = find_ended_instance(given, SERVER)
    assert ended is not None
    return {SERVER: LogFinding(ended.id, exit_code, line)}


def test_the_found_line_is_the_failure_cause() -> None:
    given = crashing_pod(1)
    assert diagnose(given, (), NOW).is_unexplained
    known, is_guessed = add_log_findings(given, finding(given))
    found = diagnose(known, (), NOW)
    assert (found.reason, is_guessed) == ("Unknown argument", False)
    assert found.message.startswith(NAMED)
    assert not found.is_unexplained


def test_the_line_is_added_to_the_end_that_the_kubelet_keeps() -> None:
    given = crashing_pod(1, message="RuntimeError: Engine core initialization failed.")
    assert diagnose(given, (), NOW).is_unexplained, "the kubelet keeps the symptom only"
    known, _ = add_log_findings(given, finding(given))
    assert diagnose(known, (), NOW).message.startswith(NAMED)
    ended = known.status.container_statuses[0].last_state.terminated
    assert ended is not None
    assert ended.message.startswith("RuntimeError: Engine core initialization failed.\n")


def test_the_next_crash_with_the_same_exit_code_keeps_the_line_until_its_log_was_read() -> None:
    before = crashing_pod(1)
    later = pod(
        waiting("CrashLoopBackOff", restartCount=4, lastState=last_terminated(1, seconds=1))
    )
    known, is_guessed = add_log_findings(later, finding(before))
    assert (diagnose(known, (), NOW).reason, is_guessed) == ("Unknown argument", True)
    other = pod(waiting("CrashLoopBackOff", restartCount=4, lastState=last_terminated(2)))
    known, is_guessed = add_log_findings(other, finding(before))
    assert (diagnose(known, (), NOW).reason, is_guessed) == ("exit code 2", False)


def test_a_log_without_a_known_error_changes_nothing() -> None:
    given = crashing_pod(1)
    assert add_log_findings(given, finding(given, line="")) == (given, False)


def test_only_an_end_that_the_pod_does_not_explain_is_unexplained() -> None:
    assert not diagnose(crashing_pod(137, "OOMKilled"), (), NOW).is_unexplained
    assert not diagnose(crashing_pod(128, "StartError", "no such file"), (), NOW).is_unexplained
    assert not diagnose(crashing_pod(2, message=LINE), (), NOW).is_unexplained
    assert not diagnose(pod(running()), (), NOW).is_unexplained
    assert diagnose(crashing_pod(139), (), NOW).is_unexplained
    assert diagnose(pod(terminated(1, "Error")), (), NOW).is_unexplained


def test_the_instance_that_ended_is_the_current_one_or_the_previous_one() -> None:
    current = find_ended_instance(pod(terminated(3, "Error")), SERVER)
    assert current is not None
    assert (current.is_previous, current.exit_code) == (False, 3)
    previous = find_ended_instance(crashing_pod(4), SERVER)
    assert previous is not None
    assert (previous.is_previous, previous.exit_code) == (True, 4)
    assert find_ended_instance(pod(running()), SERVER) is None
    assert find_ended_instance(pod(running()), "other") is None


def test_the_kubelets_id_of_a_container_names_the_instance() -> None:
    ended = {"terminated": {"exitCode": 1, "containerID": "containerd://abc"}}
    found = find_ended_instance(pod(waiting("CrashLoopBackOff", lastState=ended)), SERVER)
    assert found is not None
    assert found.id == "containerd://abc"
