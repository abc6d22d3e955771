"""What a command has written so far, and what it is still to write: for a command that is
interrupted, and for a dialog that the program ends with. Nothing is logged where no WriteLog was
begun."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from urllib.parse import unquote

from servedeck.cluster.http.errors import ApiError, ClusterError, ConnectionFailedError
from servedeck.cluster.resources import RESOURCES_BY_KIND
from servedeck.serving.text import one_line, sanitize

_current: ContextVar[WriteLog | None] = ContextVar("write_log", default=None)

_DELETED = "Deleted"
_NAMES = {(one.group, one.plural): one.kind for one in RESOURCES_BY_KIND.values()}


class WriteLog:
    """The writes of one command, by the names of their objects: "Deployment chat/llama"."""

    def __init__(self, rest: str = "Run the command again for the rest.") -> None:
        """`rest` says how what was not done is done after all."""
        self._rest = rest
        self.is_stopped = False
        """Whether no further write begins."""
        self._done: dict[str, str] = {}
        self._unknown: dict[str, None] = {}
        self._expected: dict[str, None] = {}
        self._notes: dict[str, tuple[str, str]] = {}
        """By their key: a sentence, and the name of an object."""
        self._sending: list[str] = []
        self._writing: list[str] = []
        """Names of the objects whose write is in flight."""
        self._on_idle: Callable[[], None] = lambda: None

    @property
    def in_flight(self) -> tuple[str, ...]:
        """What was sent and is not answered: "write of Deployment chat/llama"."""
        return tuple(self._sending)

    def begin(self) -> None:
        """Log the writes of the current task and of those that it creates."""
        _current.set(self)

    def expect(self, names: Iterable[str]) -> None:
        for name in names:
            self._expected.setdefault(one_line(sanitize(name)))

    def set_rest(self, sentence: str) -> None:
        self._rest = one_line(sanitize(sentence))

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written, or may have been."""
        return not (self._done or self._unknown or self._writing)

    def settle(self, name: str) -> None:
        self._expected.pop(one_line(sanitize(name)), None)

    def note(self, key: str, sentence: str, unless_deleted: str) -> None:
        self._notes.pop(key, None)
        if sentence:
            named = one_line(sanitize(unless_deleted))
            self._notes[key] = one_line(sanitize(sentence)), named

    def stop(self, on_idle: Callable[[], None]) -> None:
        """Begin no further write; `on_idle` is called once none is in flight, at once if none
        is."""
        self.is_stopped, self._on_idle = True, on_idle
        if not self._sending:
            on_idle()

    def notice(self, what: str, otherwise: str) -> str:
        """The summary of what is being done, "Promote chat/llama", for a program that ends before
        its end; `otherwise` as long as nothing was written."""
        return otherwise if self.is_empty else f"{what}: {self.summary()}"

    def summary(self) -> str:
        """What was written and what was not, in sentences."""
        in_doubt = dict.fromkeys((*self._unknown, *self._writing))
        lost = [name for name in in_doubt if name not in self._done]
        known = (*self._done, *lost)
        rest = [name for name in self._expected if name not in known]
        notes = [
            sentence for sentence, name in self._notes.values() if self._done.get(name) != _DELETED
        ]
        if not known and not notes:
            text = "Interrupted; nothing was written."
        else:
            found = ["Interrupted."]
            for verb in dict.fromkeys(self._done.values()):
                names = [name for name, one in self._done.items() if one == verb]
                found.append(f"{verb}: {', '.join(names)}.")
            if lost:
                found.append(
                    f"Not known: {', '.join(lost)}, whose response did not come; look at "
                    f"{'it' if len(lost) == 1 else 'them'} first."
                )
            text = " ".join((*found, *notes))
        if rest:
            text += f" Not done: {', '.join(rest)}."
        return f"{text} {self._rest}" if rest and (known or notes) else text

    @contextmanager
    def track(self, method: str, path: str, body: bytes | None) -> Iterator[None]:
        """Of one request. Raises CancelledError if no further write may begin."""
        if self.is_stopped:
            raise asyncio.CancelledError
        name = one_line(sanitize(_object_name(method, path, body)))
        if _is_proxied(path):
            # It writes no object; what it does is noted by who sends it.
            with self._in_flight(f"request to {name}"):
                yield
            return
        with self._in_flight(f"write of {name}"), self._noting_outcome(method, name):
            yield

    @contextmanager
    def _noting_outcome(self, method: str, name: str) -> Iterator[None]:
        self._writing.append(name)
        try:
            yield
        except ApiError as error:
            if error.may_be_executed:
                self._unknown[name] = None
            raise
        except ConnectionFailedError:  # it was not sent
            raise
        except (ClusterError, TimeoutError, asyncio.CancelledError):
            self._unknown[name] = None
            raise
        else:
            self._done[name] = _DELETED if method == "DELETE" else "Written"
        finally:
            self._writing.remove(name)

    @contextmanager
    def _in_flight(self, what: str) -> Iterator[None]:
        self._sending.append(what)
        try:
            yield
        finally:
            self._sending.remove(what)
            if self.is_stopped and not self._sending:
                self._on_idle()


def expect_writes(objects: Iterable[object]) -> None:
    """Note what is to be written next: `str` of each is its name, as "Deployment chat/llama"."""
    if (log := _current.get()) is not None:
        log.expect(map(str, objects))


def set_rest(sentence: str) -> None:
    """Say how what an interrupted command did not do is done after all, if not by running it
    again."""
    if (log := _current.get()) is not None:
        log.set_rest(sentence)


def settle_write(name: object) -> None:
    """What was to be written is not any more: it is done, refused, or noted in its parts."""
    if (log := _current.get()) is not None:
        log.settle(str(name))


def note_effect(key: str, sentence: str, *, unless_deleted: str = "") -> None:
    """Note what an interrupted command has to say besides its writes, in place of what was noted
    with this key; "" for nothing any more. It is not said once the object with the name
    `unless_deleted` was deleted."""
    if (log := _current.get()) is not None:
        log.note(key, sentence, unless_deleted)


@contextmanager
def track_write(method: str, path: str, body: bytes | None) -> Iterator[None]:
    """The context in which a write is sent, until its status is known. Raises CancelledError if the
    command was interrupted before."""
    log = _current.get()
    if log is None:
        yield
        return
    with log.track(method, path, body):
        yield


def _object_name(method: str, path: str, body: bytes | None) -> str:
    """ "Deployment chat/llama" of the path of an object, or of a collection in which it is
    created."""
    group, namespace, rest = _split(path)
    kind = _NAMES.get((group, rest[0]), rest[0])
    name = rest[1] if len(rest) > 1 else _created_name(body)
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def _split(path: str) -> tuple[str, str, list[str]]:
    """API group, namespace and the rest of the path: resource, name and subresource."""
    parts = [unquote(one) for one in path.strip("/").split("/")]
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
    if len(rest) > 2 and rest[0] == "namespaces":
        return group, rest[1], rest[2:]
    return group, "", rest


def _is_proxied(path: str) -> bool:
    """Whether it is passed on to a Service, Pod or Node, by the subresource proxy."""
    return _split(path)[2][2:3] == ["proxy"]


def _created_name(body: bytes | None) -> str:
    try:
        return str(json.loads(body or b"")["metadata"]["name"])
    except (ValueError, KeyError, TypeError):
        return "of a new name"
