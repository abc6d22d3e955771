"""Choosing the Secret or the ConfigMap of a variable and its key, or an image pull Secret."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Sequence

from servedeck.changes.draft import VALUE_NOT_SAVED, DraftRow
from servedeck.changes.key_sources import KeySource
from servedeck.cluster.http.errors import ClusterError
from servedeck.serving.text import format_count
from tui.ports.change_service import ChangeService
from tui.screens.create.option_picker import OptionPicker
from tui.screens.pick import Choice
from widgets.form_rows import SOURCE_KIND_NAMES

PULL_SECRET_TYPES = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg")
"""Types of Secrets that the kubelet pulls images with (Kubernetes, Images, Specifying
imagePullSecrets on a Pod); it ignores others."""


class KeyPicker:
    """Lists the objects, then the keys of the chosen one, when it is asked to; nothing is changed
    before both are known, so esc keeps what was typed."""

    def __init__(
        self,
        change_service: ChangeService,
        *,
        ask: Callable[[OptionPicker, Callable[[str | None], None]], object],
        start_worker: Callable[[Coroutine[None, None, None], str], object],
        show_message: Callable[[str, str, float], None],
        fill: Callable[[str, str, str], None],
    ) -> None:
        """`ask` shows a list and calls its second argument with the choice, None for none;
        `start_worker` runs a coroutine in the background, with a label; `show_message` takes a
        sentence, a style name and seconds; `fill` takes the source, the name of the object and the
        key, "" where the key is not known."""
        self._change_service = change_service
        self._ask = ask
        self._start_worker = start_worker
        self._show_message = show_message
        self._fill = fill

    def start(self, row: DraftRow, namespace: str, *, keys_only: bool) -> None:
        """List the objects for a variable; with `keys_only`, the keys of the object that it names
        already. A literal value is offered the Secrets."""
        source = row["source"] or "secret"
        kind = SOURCE_KIND_NAMES[source]
        key = "" if row["key"] == VALUE_NOT_SAVED else row["key"]
        name = row["ref"].strip()
        if keys_only and name:
            work = self._list_keys(source, namespace, name, key)
            self._start_worker(work, f"Reading the keys of {kind} {name}")
        else:
            work = self._list_sources(source, namespace, name, key)
            self._start_worker(work, f"Listing the {kind}s of {namespace}")

    def start_pull_secrets(
        self, namespace: str, present: Collection[str], add: Callable[[str], None]
    ) -> None:
        """List the image pull Secrets that are not `present`; `add` takes the chosen one."""
        work = self._list_pull_secrets(namespace, present, add)
        self._start_worker(work, f"Listing the Secrets of {namespace}")

    async def _list_pull_secrets(
        self, namespace: str, present: Collection[str], add: Callable[[str], None]
    ) -> None:
        try:
            found = await self._change_service.list_key_sources("secret", namespace)
        except ClusterError as error:
            self._show_message(str(error), "warning", 20)
            return
        usable = [one for one in found if one.type in PULL_SECRET_TYPES]
        offered = [one for one in usable if one.name not in present]
        if not offered:
            which = "no other Secret" if usable else "no Secret"
            text = f"Namespace {namespace} has {which} of type {PULL_SECRET_TYPES[0]}."
            self._show_message(text, "warning", 20)
            return

        def on_choice(chosen: str | None) -> None:
            if chosen is not None:
                add(chosen)

        title = f"Image pull Secrets of namespace {namespace}"
        self._ask(OptionPicker(title, _source_choices(offered), ""), on_choice)

    async def _list_sources(self, source: str, namespace: str, name: str, key: str) -> None:
        kind = SOURCE_KIND_NAMES[source]
        try:
            found = await self._change_service.list_key_sources(source, namespace)
        except ClusterError as error:
            self._show_message(str(error), "warning", 20)
            return
        if not found:
            self._show_message(f"Namespace {namespace} has no {kind}.", "warning", 20)
            return

        def on_choice(chosen: str | None) -> None:
            if chosen is not None:
                same_key = key if chosen == name else ""
                work = self._list_keys(source, namespace, chosen, same_key, is_new=True)
                self._start_worker(work, f"Reading the keys of {kind} {chosen}")

        title = f"{kind}s of namespace {namespace}"
        self._ask(OptionPicker(title, _source_choices(found), name), on_choice)

    async def _list_keys(
        self, source: str, namespace: str, name: str, key: str, *, is_new: bool = False
    ) -> None:
        """List the keys. `is_new` if the object was just chosen: its name is filled in although its
        keys may not be read."""
        kind = SOURCE_KIND_NAMES[source]
        try:
            keys = await self._change_service.list_keys(source, namespace, name)
        except ClusterError as error:
            if is_new:
                self._fill(source, name, key)
            self._show_message(str(error), "warning", 20)
            return
        if not keys:
            self._show_message(f"{kind} {name} has no keys.", "warning", 20)
            return
        if is_new and len(keys) == 1:
            self._fill(source, name, keys[0])
            return

        def on_choice(chosen: str | None) -> None:
            if chosen is not None:
                self._fill(source, name, chosen)

        choices = [Choice(one, one) for one in keys]
        self._ask(OptionPicker(f"Keys of {kind} {name}", choices, key), on_choice)


def _source_choices(sources: Sequence[KeySource]) -> list[Choice]:
    return [
        Choice(
            one.name,
            one.name,
            "  ".join(filter(None, (one.type, format_count(one.key_count, "key")))),
        )
        for one in sources
    ]
