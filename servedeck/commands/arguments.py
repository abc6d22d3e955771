"""The flags of a command as settings, connection options and files. Each function imports what it
needs when it runs, so that the command line starts fast.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from servedeck.commands.errors import USAGE_ERROR, CommandError

if TYPE_CHECKING:
    from servedeck.cluster.auth.kubeconfig import ConnectionOptions
    from servedeck.config import Settings
    from servedeck.serving.spec.document import ServingDocument
    from servedeck.serving.spec.spec import ServingSpec

_MAX_DOCUMENT_LENGTH = 64 << 20
"""Characters of a file with servings that are read: /dev/zero has no end."""


_SILENT_PIPE_SECONDS = 2.0
"""Seconds after which it is said that a pipe brings nothing."""


def load_settings(args: argparse.Namespace) -> Settings:
    from servedeck import config

    return config.load_settings(
        {
            "context": args.context,
            "namespace": args.namespace,
            "all_namespaces": True if args.all_namespaces else None,
            "readonly": True if args.readonly else None,
            "prometheus_url": args.prometheus_url,
        }
    )


def require_single_namespace(settings: Settings) -> None:
    """Raises CommandError if a serving is named across all namespaces."""
    if settings.all_namespaces:
        raise CommandError(
            "A serving cannot be selected by name in all namespaces; give its namespace with -n.",
            USAGE_ERROR,
        )


def split_serving_name(written: str, namespace: str | None) -> tuple[str | None, str]:
    """Namespace (None for that of the context) and name of NAME or NAMESPACE/NAME, with the value
    of -n. Raises CommandError."""
    first, slash, name = written.rpartition("/")
    if not name or (slash and not first) or "/" in first:
        raise CommandError(f"{written!r} is not NAME or NAMESPACE/NAME; correct it.", USAGE_ERROR)
    if slash and namespace and namespace != first:
        raise CommandError(
            f"{written} and -n {namespace} name two namespaces; give one.", USAGE_ERROR
        )
    return first or namespace, name


@contextmanager
def connection_options(
    args: argparse.Namespace,
    settings: Settings,
    while_starting: Callable[[], object] = lambda: None,
) -> Iterator[ConnectionOptions]:
    """The connection options; with --demo, those of a demo cluster that runs within the context.
    `while_starting` is called while it starts."""
    from servedeck.cluster.auth.kubeconfig import ConnectionOptions, namespace_problem

    if settings.namespace and (problem := namespace_problem(settings.namespace)):
        raise CommandError(problem, USAGE_ERROR)
    files = (args.kubeconfig,) if args.kubeconfig is not None else None
    target = ConnectionOptions(
        kubeconfig=files,
        context=settings.context or None,
        namespace=None if settings.all_namespaces else settings.namespace or None,
        all_namespaces=settings.all_namespaces,
        readonly=settings.readonly,
        report_wait=_report_wait,
    )
    if not args.demo:
        yield target
        return
    from servedeck.demo.errors import DemoError
    from servedeck.demo.process import spawn

    # The demo has its own contexts, and its servings are in several namespaces.
    target = replace(target, context=args.context, all_namespaces=not target.namespace)
    try:
        with spawn(while_starting=while_starting) as file:
            yield replace(target, kubeconfig=(file,))
    except DemoError as error:
        raise CommandError(str(error)) from error


def _report_wait(notice: str) -> None:
    """Pass on what a request waits for."""
    from servedeck.commands.output import write_lines

    if notice:
        write_lines(sys.stderr, f"servedeck: {notice}")


def read_servings(filename: str) -> list[ServingSpec]:
    """The servings of a file, or of standard input for "-"."""
    return [document.spec for document in read_serving_documents(filename)]


def read_serving_documents(filename: str) -> list[ServingDocument]:
    """The servings of a file, or of standard input for "-", with their lines."""
    from servedeck.serving.spec.document import read_documents
    from servedeck.serving.spec.document_issues import DocumentError

    place = file_description(filename)
    try:
        text = _read_text(filename)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise CommandError(f"Cannot read {place}: {why}; name another file.") from error
    try:
        documents = read_documents(text)
    except DocumentError as error:
        raise CommandError(f"{place}: {error}") from error
    _refuse_masked_values(documents, place)
    return documents


def _refuse_masked_values(documents: Sequence[ServingDocument], place: str) -> None:
    """What an export with --redact leaves out must not become the value."""
    from servedeck.serving.edit.secret_fields import find_masked_values
    from servedeck.serving.text import MASK

    for one in documents:
        if found := [*find_masked_values(one.spec)]:
            raise CommandError(
                f"{place}: {one.spec.name}: {MASK} stands for a value that is not shown, in "
                f"{', '.join(found)}; write the value, or take it from a Secret of the cluster."
            )


def _read_text(filename: str) -> str:
    """Raises OSError, UnicodeDecodeError and CommandError."""
    if filename == "-":
        text = sys.stdin.read(_MAX_DOCUMENT_LENGTH + 1)
    else:
        with _open_text(Path(filename)) as file:
            text = file.read(_MAX_DOCUMENT_LENGTH + 1)
    if len(text) > _MAX_DOCUMENT_LENGTH:
        raise CommandError(
            f"{file_description(filename)} is longer than {_MAX_DOCUMENT_LENGTH >> 20} MiB; name"
            " another file."
        )
    return text


def _open_text(path: Path) -> TextIO:
    """Open a file. Says that a pipe brings nothing, and waits: a named one may have no writer."""
    import os
    import select
    import stat

    from servedeck.commands.output import write_lines

    if not stat.S_ISFIFO(path.stat().st_mode):
        return path.open(encoding="utf-8")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file = os.fdopen(descriptor, encoding="utf-8")
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if not poll.poll(_SILENT_PIPE_SECONDS * 1000):
        write_lines(
            sys.stderr, f"servedeck: Nothing was written to the pipe {path} yet; waiting for it."
        )
        poll.poll()
    os.set_blocking(descriptor, True)
    return file


def file_description(filename: str) -> str:
    """The file in a message."""
    return "standard input" if filename == "-" else filename
