"""The create form's questions, asked of the cluster that the living picture shows.

What the form needs (pydantic, the rules of a spec) takes 90 ms to import, which the list does not
wait for: `FORM_MODULES` are imported once it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from servedeck.cluster.access import Access
from servedeck.cluster.http.errors import LostError
from servedeck.fleet.views import Key

if TYPE_CHECKING:
    from servedeck.changes.draft_store import Shelf
    from servedeck.changes.inventory import Surroundings
    from servedeck.changes.plan import Review
    from servedeck.cluster.apply import Made, Outcome, Place, Refusal
    from servedeck.cluster.http.connection import Connection
    from servedeck.config import Settings
    from servedeck.serving.objects.import_objects import Reading
    from servedeck.serving.objects.routes import Platform, RouteKind
    from servedeck.serving.spec.spec import ServingSpec
    from tui.workbench import Around

FORM_MODULES = (
    "servedeck.commands.apply",
    "servedeck.changes.inventory",
    "tui.screens.create.wizard",
)

NEEDED = (("create", "deployments.apps"), ("patch", "deployments.apps"), ("create", "services"))
"""Rights without which nothing can be created: server-side apply needs create and patch."""


class ClusterWorkbench:
    """What `tui.workbench.Workbench` asks for, of a cluster."""

    def __init__(
        self,
        connection: Callable[[], Connection | None],
        settings: Callable[[], Settings],
        drafts: Path | None = None,
    ) -> None:
        """The first two say what is in force now: they change with the context. `drafts` is where
        drafts are kept, None for the place of the operator."""
        self._drafts = drafts
        self._connection = connection
        self._settings = settings
        self._known: Connection | None = None
        """The connection that the two below were asked of."""
        self._access: Access | None = None
        self._routes: frozenset[RouteKind] | None = None

    def _current(self) -> Connection:
        connection = self._connection()
        if connection is None:
            raise LostError("The API server is not reached yet; it is being tried.")
        if connection is not self._known:
            self._known, self._access, self._routes = connection, Access(connection), None
        return connection

    @property
    def ready(self) -> bool:
        return self._connection() is not None

    @property
    def shelf(self) -> Shelf | None:
        from servedeck.changes.draft_store import Shelf

        connection = self._connection()
        return Shelf(connection.server, self._drafts) if connection is not None else None

    @property
    def namespace(self) -> str:
        connection = self._connection()
        return connection.namespace if connection is not None else ""

    # -- rights ---------------------------------------------------------------------------------

    def why_not(self, namespace: str) -> str:
        connection = self._connection()
        if connection is None:
            return "The API server is not reached yet, so nothing can be created."
        if connection.readonly:
            return "servedeck runs with --readonly and creates nothing; start it without."
        if connection is not self._known or self._access is None:
            return ""
        for verb, resource in NEEDED:
            decision = self._access.allowed(verb, resource, namespace)
            if not decision:
                return decision.reason
        return ""

    async def learn_rights(self, namespace: str) -> None:
        self._current()
        if self._access is not None:
            await self._access.refresh(namespace)

    # -- platform -------------------------------------------------------------------------------

    @property
    def platform(self) -> Platform:
        from servedeck.changes.platform_settings import platform_of

        known = self._routes or frozenset()
        return platform_of(self._settings(), lambda kind: kind in known)

    async def _asked_platform(self) -> Platform:
        from servedeck.commands.apply import route_kinds

        connection = self._current()
        if self._routes is None:
            found = await route_kinds(connection)
            if connection is self._known:
                self._routes = found
        return self.platform

    # -- a new serving --------------------------------------------------------------------------

    def around(
        self, namespace: str, on_change: Callable[[], None], *, nodes_only: bool = False
    ) -> Surroundings | None:
        from servedeck.changes.inventory import Surroundings

        connection = self._connection()
        if connection is None:
            return None
        around = Surroundings(connection, namespace, on_change)
        around.start(nodes_only=nodes_only)
        return around

    async def review(self, spec: ServingSpec, around: Around, own: Sequence[Place]) -> Review:
        from servedeck.changes.plan import review

        platform = await self._asked_platform()
        known = cast("Surroundings", around)
        await known.known()
        return await review(self._current(), spec, platform, known, own=own)

    async def deploy(
        self,
        manifests: Sequence[Mapping[str, Any]],
        own: Sequence[Place],
        on_made: Callable[[Made], None],
    ) -> Outcome:
        from servedeck.cluster import apply
        from servedeck.cluster.apply import Outcome, Place

        connection = self._current()
        ours = [one for one in manifests if Place.of(one) in own]
        if ours:
            outcome = await apply.apply(connection, ours)
            if outcome.refusal:
                return Outcome((), outcome.refusal, outcome.failed)
        others = [one for one in manifests if Place.of(one) not in own]
        return await apply.apply(connection, others, create=True, on_made=on_made)

    async def undo(self, made: Sequence[Made]) -> Sequence[tuple[Place, Refusal]]:
        from servedeck.cluster import apply

        return await apply.undo(self._current(), made)

    async def read(self, key: Key) -> Reading:
        from servedeck.changes.live_objects import stored
        from servedeck.commands.apply import NoServingError
        from servedeck.serving.objects import import_objects

        objects = await stored(self._current(), key.namespace, key.name)
        if not objects:
            raise NoServingError(f"There is no Deployment {key.name} in {key.namespace} any more.")
        return import_objects.read(objects)
