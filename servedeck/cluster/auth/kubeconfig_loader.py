"""Finds, reads and merges kubeconfig files by kubectl's rules.

Source of the rules: kubernetes client-go tools/clientcmd/loader.go.
"""

from __future__ import annotations

import os
import select
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import yaml

from servedeck.cluster.auth.kubeconfig import (
    IN_CLUSTER_NAME,
    ConnectionOptions,
    Kubeconfig,
    get_str,
    service_account_namespace,
)
from servedeck.cluster.auth.kubeconfig_yaml import load_first_document
from servedeck.cluster.http.errors import ConfigError
from servedeck.paths import expand_home
from servedeck.serving.text import truncate

SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_MAX_FILE_BYTES = 64 << 20
_MAX_QUOTED_CELLS = 200
"""Width of a path in a message: there may be other text in its place."""
_PIPE_TIMEOUT = 30.0
"""Seconds in which a pipe must bring more, or end."""
_pipe_contents: dict[Path, bytes] = {}
"""What was read from pipes: `--kubeconfig <(...)` can be read only once."""
_pipe_lock = threading.Lock()


def load_kubeconfig(
    options: ConnectionOptions,
    environ: Mapping[str, str] = os.environ,
    service_account_dir: Path | None = None,
) -> Kubeconfig:
    """Load the kubeconfig selected by `options`. Raises ConfigError if there is none or it is
    invalid. `service_account_dir`: None for `SERVICE_ACCOUNT_DIR`. A pipe is read once in the
    process.

    Blocks on file I/O: call it in a thread.
    """
    files, explicit = _kubeconfig_files(options, environ)
    service_account_dir = service_account_dir or SERVICE_ACCOUNT_DIR
    present = [file for file in dict.fromkeys(files) if _exists(file)]
    if explicit and (missing := [file for file in files if file not in present]):
        raise ConfigError(f"There is no kubeconfig {missing[0]}; check the path.")
    documents = [(file, _load_file(file)) for file in present]
    if not any(document for _, document in documents):
        kubeconfig = _in_cluster_kubeconfig(files, present, environ, service_account_dir)
        if options.context not in (None, "", IN_CLUSTER_NAME):
            # The cluster that this Pod runs in is not the one that was asked for.
            searched = ", ".join(map(str, files)) or "KUBECONFIG"
            raise ConfigError(
                f"There is no context {options.context!r}, as there is no kubeconfig (looked for"
                f" {searched}); name a file with --kubeconfig, or remove the context to use the"
                " service account of this Pod."
            )
        return kubeconfig
    return _merge_documents(documents, options.context)


def _exists(file: Path) -> bool:
    """Raises ConfigError where that cannot be found out."""
    try:
        return file.exists()
    except OSError as error:
        name = truncate(str(file), _MAX_QUOTED_CELLS)
        raise ConfigError(
            f"Cannot read the kubeconfig {name}: {error.strerror or error}; name another with"
            " --kubeconfig or KUBECONFIG."
        ) from error


def kubeconfig_files(options: ConnectionOptions, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The files that are read as far as they exist."""
    return _kubeconfig_files(options, environ)[0]


def _kubeconfig_files(
    options: ConnectionOptions, environ: Mapping[str, str]
) -> tuple[tuple[Path, ...], bool]:
    """Files to read, and whether all of them must exist."""
    if options.kubeconfig is not None:
        files = tuple(map(expand_home, options.kubeconfig))
        return files, len(files) == 1
    if variable := environ.get("KUBECONFIG", ""):
        if "\n" in variable.strip() or variable.lstrip()[:1] == "{":
            raise ConfigError(  # without its text, which may have a token
                "KUBECONFIG holds the content of a kubeconfig; write it to a file, and set"
                " KUBECONFIG to the path of that."
            )
        names = [name for name in variable.split(os.pathsep) if name]
        return tuple(expand_home(Path(name)) for name in names), False
    home = environ.get("HOME") or "~"
    return (expand_home(Path(home)) / ".kube" / "config",), False


def _in_cluster_kubeconfig(
    files: Sequence[Path],
    present: Sequence[Path],
    environ: Mapping[str, str],
    service_account_dir: Path,
) -> Kubeconfig:
    if environ.get("KUBERNETES_SERVICE_HOST") and (service_account_dir / "token").is_file():
        namespace = service_account_namespace(service_account_dir)
        return Kubeconfig(
            (),
            (IN_CLUSTER_NAME,),
            IN_CLUSTER_NAME,
            {IN_CLUSTER_NAME: namespace},
            {},
            {},
            {},
            service_account_dir,
            environ,
        )
    searched = ", ".join(map(str, files)) or "KUBECONFIG"
    if present:
        raise ConfigError(
            f"The kubeconfig {searched} is empty; copy the kubeconfig of your cluster there, or "
            f"name another with --kubeconfig."
        )
    raise ConfigError(
        f"There is no kubeconfig (looked for {searched}); set KUBECONFIG, or name a file with"
        " --kubeconfig."
    )


def _load_file(file: Path) -> Mapping[str, Any]:
    try:
        document = load_first_document(_read_file(file))
    except OSError as error:
        raise ConfigError(
            f"Cannot read the kubeconfig {file}: {error.strerror or error}; check its permissions."
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or error
        raise ConfigError(
            f"The kubeconfig {file} is not valid YAML{line} ({problem}); fix it, or name"
            " another with --kubeconfig."
        ) from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ConfigError(
            f"The kubeconfig {file} holds a {type(document).__name__}, not a mapping with"
            " clusters, users and contexts; is it another file?"
        )
    return document


def _read_file(file: Path) -> bytes:
    """Raises OSError, and ConfigError if the file is too long."""
    if stat.S_ISREG(file.stat().st_mode) or file.is_dir():
        with file.open("rb") as opened:
            content = opened.read(_MAX_FILE_BYTES + 1)
    else:
        with _pipe_lock:
            if file not in _pipe_contents:
                _pipe_contents[file] = _read_pipe(file)
            content = _pipe_contents[file]
    if len(content) > _MAX_FILE_BYTES:
        raise ConfigError(
            f"The kubeconfig {file} is longer than {_MAX_FILE_BYTES >> 20} MiB; is it another file?"
        )
    return content


def _read_pipe(file: Path) -> bytes:
    """Read to the end. Raises OSError, also if nothing comes: a named pipe may have no writer."""
    content = bytearray()
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    try:
        while len(content) <= _MAX_FILE_BYTES:
            deadline = monotonic() + _PIPE_TIMEOUT
            chunk = None
            while chunk is None:
                if not poll.poll(max(deadline - monotonic(), 0.0) * 1000):
                    raise TimeoutError(0, "nothing was written to it, and it was not closed")
                try:
                    chunk = os.read(descriptor, 1 << 16)
                except BlockingIOError:
                    continue
            if not chunk:
                break
            content += chunk
    finally:
        os.close(descriptor)
    return bytes(content)


def _merge_documents(
    documents: Sequence[tuple[Path, Mapping[str, Any]]], selected_context: str | None
) -> Kubeconfig:
    """The first file that defines an entry has precedence (loader.go, Load)."""
    merged: dict[str, dict[str, tuple[Mapping[str, Any], Path]]] = {
        "clusters": {},
        "users": {},
        "contexts": {},
    }
    current = selected_context or ""
    for file, document in documents:
        for plural, entries in merged.items():
            for name, entry in _named_entries(document, plural, file):
                entries.setdefault(name, (entry, file))
        current = current or get_str(document, "current-context", f"file {file}")
    namespaces = {
        name: get_str(entry, "namespace", f"context {name!r} in {file}") or "default"
        for name, (entry, file) in merged["contexts"].items()
    }
    return Kubeconfig(
        tuple(file for file, _ in documents),
        tuple(merged["contexts"]),
        current,
        namespaces,
        merged["clusters"],
        merged["users"],
        merged["contexts"],
    )


def _named_entries(
    document: Mapping[str, Any], plural: str, file: Path
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    items = document.get(plural)
    if items is None:
        return
    singular = plural[:-1]
    if not isinstance(items, list):
        raise ConfigError(
            f"{plural} of the kubeconfig {file} is not a list; fix the file, or name another"
            " with --kubeconfig."
        )
    for item in items:
        if not isinstance(item, dict) or not item.get("name"):
            raise ConfigError(
                f"The kubeconfig {file} has a {singular} without a name; fix the file."
            )
        entry = item.get(singular) or {}
        if not isinstance(entry, dict):
            raise ConfigError(
                f"The {singular} {item['name']!r} in {file} is not a mapping; fix the file."
            )
        yield str(item["name"]), entry
