"""Completes the path of a local file, as a shell does. Nothing here knows the screen; it reads a
directory, which may take long on a network file system: run it in a thread."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from servedeck.serving.text import one_line, sanitize

MAX_ENTRIES = 20_000
"""Maximum number of entries of a directory that are read."""

MAX_CANDIDATES = 200
"""Maximum number of candidates that are kept to be shown."""

Result = TypeVar("Result")


class Completion(NamedTuple):
    """What can follow a typed path."""

    text: str
    """The path with what all candidates have in common; the typed one if that is nothing more."""
    candidates: tuple[str, ...] = ()
    """Names in the directory that match, sorted, those of directories with "/" at their end."""
    total: int = 0
    """How many match; more than `candidates` holds if there are very many."""
    problem: str = ""
    """Why there are none, in a sentence."""
    has_unread: bool = False
    """Whether the directory has more entries than were read."""


def complete_path(typed: str) -> Completion:
    """Complete a path. "~" is the home directory; hidden files are found if their dot is typed. A
    name that cannot be typed, with a control character or not UTF-8, is left out. Blocks."""
    if typed == "~":
        return Completion("~/", ("~/",), 1)
    if "\0" in typed:
        return Completion(typed, problem="No file has a name with a null character.")
    head, slash, start = typed.rpartition("/")
    shown = f"{head}{slash}" or "the current directory"
    try:
        directory = Path(f"{head}{slash}" or ".").expanduser()
        names, has_unread = _matching_names(directory, start)
    except FileNotFoundError:
        return Completion(typed, problem=f"{shown} does not exist.")
    except NotADirectoryError:
        return Completion(typed, problem=f"{shown} is not a directory.")
    except (OSError, RuntimeError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Completion(typed, problem=f"{shown} cannot be read: {why.rstrip('.')}.")
    if not names:
        unread = f" among its first {MAX_ENTRIES:,} entries" if has_unread else ""
        if not start:
            problem = f"There are only hidden files, or none, in {shown}{unread}."
        else:
            problem = f"Nothing begins with {start} in {shown}{unread}."
        return Completion(typed, problem=problem)
    # Of what was not read nothing is known, so no more than was typed is common to all.
    common = start if has_unread else os.path.commonprefix(names)  # noqa: RUF071 - of names
    return Completion(
        f"{head}{slash}{common}", tuple(names[:MAX_CANDIDATES]), len(names), "", has_unread
    )


def _matching_names(directory: Path, start: str) -> tuple[list[str], bool]:
    """The names that begin with `start`, and whether there are entries that were not read."""
    found = [f"{start}/"] if start in (".", "..") else []
    with os.scandir(directory) as entries:
        for entry in islice(entries, MAX_ENTRIES):
            name = entry.name
            if not name.startswith(start) or (name.startswith(".") and not start.startswith(".")):
                continue
            if not name.isprintable() or one_line(sanitize(name)) != name:
                continue
            is_directory = False
            with suppress(OSError):  # a link that leads nowhere
                is_directory = entry.is_dir()
            found.append(f"{name}/" if is_directory else name)
        has_unread = next(entries, None) is not None
    return sorted(found), has_unread


async def run_in_daemon_thread(work: Callable[[], Result], name: str) -> Result:
    """The result of a function that may block for ever: its thread belongs to no pool, whose
    threads others wait for, and does not keep the program from ending."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def finish(result: Result | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # what `work` has returned

    def run() -> None:
        result: Result | None = None
        error: BaseException | None = None
        try:
            result = work()
        except BaseException as raised:
            error = raised
        with suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(finish, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
