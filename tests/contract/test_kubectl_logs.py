"""`kubectl logs` on both servers. The demo's containers write logs on their own; those of the real
control plane log what the test writes through `FakeKubelet`."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.contract.kubectl import KUBECTL_TIMEOUT_ARGS, Kubectl
from tests.contract.target import RealBackend, Target, eventually
from tests.contract.test_lifecycle import Workload, quick
from tests.control_plane.fake_kubelet import FakeKubelet
from tests.waiting import WAIT_SECONDS

CONTAINER = "c"


class LoggingPod:
    """The only Pod of a Deployment, with a log of at least three lines."""

    def __init__(self, target: Target, ns: str, body: dict[str, Any]) -> None:
        self.ns = ns
        self.web = Workload(target, ns)
        self.web.create(body)
        self.name: str = eventually(lambda: self.web.items("pods"), "a Pod")[0]["metadata"]["name"]
        backend = target.backend
        self._kubelet: FakeKubelet | None = None
        if isinstance(backend, RealBackend):
            self._kubelet = backend.plane.kubelet
            assert self._kubelet
            self._kubelet.write(ns, self.name, "one", "two", "three", container=CONTAINER)

    def state(self) -> dict[str, Any]:
        (pod,) = self.web.items("pods")
        found: dict[str, Any] = (pod["status"].get("containerStatuses") or [{}])[0]
        return found

    def restarts(self) -> None:
        """The container instance terminates and another starts; in the demo this happens
        automatically."""
        if not self._end_log():
            eventually(lambda: self.state().get("restartCount"), "a restart")

    def ends(self, kubectl: Kubectl) -> None:
        """The container instance logs one more line and terminates."""
        if not self._end_log():
            kubectl("delete", "pod", self.name, "--wait=false")

    def _end_log(self) -> bool:
        if self._kubelet is None:
            return False
        self._kubelet.write(self.ns, self.name, "last words", container=CONTAINER)
        self._kubelet.end_log(self.ns, self.name, CONTAINER)
        return True


@pytest.fixture
def logging_pod(target: Target, ns: str) -> LoggingPod:
    made = LoggingPod(target, ns, quick())
    made.web.ready(1)
    return made


def test_the_log_of_a_container(logging_pod: LoggingPod, kubectl: Kubectl) -> None:
    name = logging_pod.name
    eventually(lambda: len(kubectl("logs", name).splitlines()) >= 3, "three lines")
    lines = kubectl("logs", name).splitlines()
    assert kubectl("logs", name, "-c", CONTAINER).splitlines()[: len(lines)] == lines
    assert kubectl("logs", "deploy/web").splitlines()[: len(lines)] == lines
    stamped = kubectl("logs", name, "--timestamps").splitlines()
    times, words = zip(*(line.split(" ", 1) for line in stamped[: len(lines)]), strict=True)
    assert list(words) == lines
    assert list(times) == sorted(times) and times[0].endswith("Z")


def test_the_last_lines_of_a_log(logging_pod: LoggingPod, kubectl: Kubectl) -> None:
    eventually(lambda: len(kubectl("logs", logging_pod.name).splitlines()) >= 3, "three lines")
    assert kubectl("logs", logging_pod.name, "--tail=0") == ""
    last = kubectl("logs", logging_pod.name, "--tail=2").splitlines()
    whole = kubectl("logs", logging_pod.name).splitlines()
    assert len(last) == 2 and last in [whole[at : at + 2] for at in range(len(whole))]


def test_a_log_is_followed_to_its_end(logging_pod: LoggingPod, kubectl: Kubectl) -> None:
    process = kubectl.start("logs", "-f", logging_pod.name)
    deadline = threading.Timer(WAIT_SECONDS, process.kill)
    deadline.start()
    try:
        assert process.stdout is not None and process.stderr is not None
        before = [process.stdout.readline() for _ in range(3)]
        logging_pod.ends(kubectl)
        # not communicate(), which omits the lines that readline() has buffered
        after, error = process.stdout.read(), process.stderr.read()
        process.wait()
    finally:
        deadline.cancel()
        process.kill()
        process.communicate()
    assert all(before) and error == ""
    assert after.splitlines()[-1] in ("last words", "INFO:     Finished server process [1]")
    assert process.returncode == 0


def test_the_log_of_the_instance_before(
    target: Target, ns: str, logging_pod: LoggingPod, kubectl: Kubectl
) -> None:
    rejected = kubectl("logs", "-p", logging_pod.name, code=1)
    assert rejected == (
        f'Error from server (BadRequest): previous terminated container "{CONTAINER}" '
        f'in pod "{logging_pod.name}" not found\n'
    )
    kubectl("delete", "deploy", "web", KUBECTL_TIMEOUT_ARGS)
    eventually(lambda: not logging_pod.web.items("pods"), "the Pod to go")
    body = quick()
    # the demo's server rejects the option and exits; the real container is scripted
    body["spec"]["template"]["spec"]["containers"] = [
        {
            "name": CONTAINER,
            "image": "vllm/vllm-openai:v0.33.0",
            "command": ["vllm", "serve", "Qwen/Qwen3-8B", "--no-such-option"],
        }
    ]
    crashed = LoggingPod(target, ns, body)
    crashed.restarts()
    lines = kubectl("logs", "-p", crashed.name).splitlines()
    assert lines[-1] in (
        "last words",
        "vllm serve: error: unrecognized arguments: --no-such-option",
    )
    assert kubectl("logs", "-p", crashed.name, "--tail=1").splitlines() == lines[-1:]


def test_forbidden_logs(logging_pod: LoggingPod, kubectl: Kubectl) -> None:
    kubectl("logs", logging_pod.name, user="viewer")
    rejected = kubectl("logs", logging_pod.name, user="nobody", code=1)
    assert 'User "nobody" cannot get resource "pods" in API group ""' in rejected
    assert '(NotFound): pods "nope" not found' in kubectl("logs", "nope", code=1)
