"""Planning to turn the async queue of a serving on, or to change its settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from servedeck import __version__
from servedeck.async_queue.client import AsyncQueueClient
from servedeck.async_queue.errors import AsyncQueueError
from servedeck.changes.async_queue.plan import (
    AsyncQueueOptions,
    AsyncQueuePlan,
    join,
    with_previews,
)
from servedeck.changes.async_queue.secret_plan import secret_effects, with_secrets
from servedeck.changes.async_queue.secrets import PasswordSource, missing_keys
from servedeck.changes.async_queue.state import (
    AsyncQueueState,
    find_target,
    managers,
    target_name,
)
from servedeck.changes.object_writes import ObjectWrite, plan_writes
from servedeck.cluster.apply import ObjectRef
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.resources import SERVICE
from servedeck.config import PLATFORM_CONFIGMAP, PLATFORM_NAMESPACE, Settings
from servedeck.serving.async_limit_checks import check_limits
from servedeck.serving.async_limits import (
    LIMITS,
    AsyncQueueSettings,
    format_limit,
    limit_changes,
    value_of,
)
from servedeck.serving.conventions import ASYNC_SUFFIX
from servedeck.serving.objects.async_gateway import (
    VALKEY_PASSWORD_KEY,
    AsyncPlatform,
    build_async_gateway,
)
from servedeck.serving.objects.async_routes import (
    add_async_rules,
    async_gateway_name,
    find_public_path,
    has_async_rules,
    keeps_path,
)
from servedeck.serving.objects.change import ObjectChange
from servedeck.serving.objects.owners import find_gitops_owner
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str
from servedeck.serving.spec.names import MAX_LABEL_LENGTH
from servedeck.serving.status.rollout_status import desired_replicas
from servedeck.serving.text import format_size, one_line, sanitize

_PUBLIC_PATH = r"(/[A-Za-z0-9._~-]+)+"
"""As in the settings of the gateway."""
_LONGEST_NAME = MAX_LABEL_LENGTH - len(f"{ASYNC_SUFFIX}-admin")


@dataclass(frozen=True, slots=True)
class AsyncQueueDefaults:
    """What the platform's settings say of async queues."""

    image: str
    store: str
    store_secret: str

    @classmethod
    def from_settings(cls, settings: Settings) -> AsyncQueueDefaults:
        """`settings` are completed by the cluster's ConfigMap."""
        image = settings.async_image or f"servedeck-gateway:{__version__}"
        return cls(image, settings.async_store, settings.async_store_secret)

    @property
    def issue(self) -> str:
        """Why no gateway can be made from them, in a sentence; "" if one can."""
        where = f"the settings, or in ConfigMap {PLATFORM_NAMESPACE}/{PLATFORM_CONFIGMAP}"
        if not self.store:
            return (
                "No Valkey is named that keeps the tasks; set async_store, as in "
                f"valkey://valkey.servedeck-system:6379, in {where} (deploy/valkey has one)."
            )
        if not re.fullmatch(r"(valkey|redis)s?://[^\s/?#]+(/\d+)?", self.store):
            return (
                "The setting async_store is not the URL of a Valkey; set it as in "
                f"valkey://valkey.servedeck-system:6379, in {where}."
            )
        if "@" in self.store:
            return (
                "The setting async_store has credentials, which a ConfigMap would show; put the "
                f"password into a Secret, and name that with async_store_secret in {where}."
            )
        if self.store_secret and PasswordSource.parse(self.store_secret) is None:
            return (
                "The setting async_store_secret is not namespace/name or namespace/name/key; "
                f"correct it in {where}."
            )
        return ""


async def plan_turning_on(
    connection: Connection,
    options: AsyncQueueOptions,
    state: AsyncQueueState,
    defaults: AsyncQueueDefaults,
) -> AsyncQueuePlan:
    """Turn it on, or change its settings, with the API server's dry run. Raises ClusterError if
    that cannot be found out."""
    plan = AsyncQueuePlan(options)
    if blocked := _find_block(state, defaults):
        return replace(plan, blocked=one_line(sanitize(blocked)))
    before = state.settings
    if problem := _find_change_since(options, state):
        return replace(plan, blocked=problem)
    settings = replace(before or AsyncQueueSettings(), **dict(options.changes))
    changes = limit_changes(before, settings)
    has_objects = bool(state.other_settings.get("objects"))
    issues = check_limits(settings, [one.name for one in changes], has_objects=has_objects)
    if issues and issues[0].is_error:
        return replace(plan, blocked=issues[0].message)
    plan = replace(plan, settings=settings, limit_changes=changes)
    warnings = [*_replaced_settings(state, settings), *(one.message for one in issues)]
    plan = replace(plan, warnings=tuple(warnings))
    plan = await with_secrets(connection, plan, state, PasswordSource.parse(defaults.store_secret))
    if plan.blocked:
        return plan
    plan = replace(
        plan,
        writes=tuple(_gateway_writes(plan, state, defaults)),
        route_writes=tuple(_route_writes(state, force=options.force)),
        warnings=(*plan.warnings, *route_warnings(state)),
    )
    plan = await with_previews(connection, plan)
    if plan.blocked:
        return plan
    plan = replace(plan, closed=await _is_closed(connection, plan, state))
    if plan.closed and options.seen is not None:
        text = (
            "Its queue is closed, as by who is turning it off: its limits are not changed; "
            f"servedeck async-queue on {options.target} opens it."
        )
        return replace(plan, blocked=one_line(sanitize(text)))
    if warning := await _override_warning(connection, plan, state):
        plan = replace(plan, warnings=(*plan.warnings, warning))
    makes_secrets = plan.creates_secret or plan.creates_view_secret
    if not (makes_secrets or plan.writes or plan.route_writes or plan.closed):
        text = "The async queue is on with these settings already."
        return replace(plan, unchanged=f"{text} {state.not_available}".rstrip())
    return replace(plan, effects=tuple(_effects(plan, state)))


async def _is_closed(
    connection: Connection, plan: AsyncQueuePlan, state: AsyncQueueState
) -> bool | None:
    """See AsyncQueuePlan.closed. A gateway with a new secret opens its queue at its start."""
    if plan.creates_secret:
        return False
    if state.gateway is None or state.not_available:
        return None
    try:
        client = AsyncQueueClient(connection, state.namespace, state.serving)
        return (await client.queue_status()).closed
    except AsyncQueueError:
        return None


def _find_change_since(options: AsyncQueueOptions, state: AsyncQueueState) -> str:
    """Why the change is not of what somebody saw, in a sentence; "" if it is."""
    seen, now = options.seen, state.settings
    if seen is None:
        return ""
    if now is None or state.gateway is None:
        return "The async queue was turned off meanwhile."
    name = async_gateway_name(state.serving)
    if any((one.kind, one.name) == (SERVICE.kind, name) for one in state.missing):
        # It is the first that is deleted; applying all objects would make it again.
        return "The async queue is being turned off, or its Service was deleted; turn it on first."
    for name, wanted in options.changes:
        old, new = value_of(seen, name), value_of(now, name)
        if new not in (old, wanted):
            return (
                f"Somebody else changed {LIMITS[name].label} meanwhile, from "
                f"{format_limit(name, old)} to {format_limit(name, new)}; look at the limits again."
            )
    return ""


def _replaced_settings(state: AsyncQueueState, settings: AsyncQueueSettings) -> Iterator[str]:
    """What is overwritten without being known, as it cannot be read; sentences."""
    for name, problem in state.settings_problems.items():
        if name in LIMITS:
            yield f"{problem} It becomes {format_limit(name, value_of(settings, name))}."
        else:
            yield f"{problem} They are replaced; what others added to them is lost."


async def _override_warning(
    connection: Connection, plan: AsyncQueuePlan, state: AsyncQueueState
) -> str:
    """That the concurrency of each Pod was set at run time, which stays in force, in a sentence; ""
    if it was not, or that is not known."""
    wanted = dict(plan.options.changes).get("pod_concurrency")
    if wanted is None or plan.creates_secret or state.gateway is None or state.not_available:
        return ""
    try:
        client = AsyncQueueClient(connection, state.namespace, state.serving)
        set_now = (await client.control()).pod_concurrency
    except AsyncQueueError:
        return ""
    if set_now in (None, wanted):
        return ""
    return (
        f"Somebody set the concurrency of each Pod to {set_now} at run time, which stays in force; "
        "empty it in the dialog of the concurrency, on the tab Async Queue."
    )


def _find_block(state: AsyncQueueState, defaults: AsyncQueueDefaults) -> str:
    """Why it cannot be turned on, in a sentence; "" if it can."""
    if as_mapping(state.deployment, "metadata").get("deletionTimestamp"):
        return "The serving is being deleted."
    if len(state.serving) > _LONGEST_NAME:
        return (
            f"Its name has {len(state.serving)} characters, and the names of its gateway would be "
            f"too long: at most {_LONGEST_NAME} are possible."
        )
    if defaults.issue:
        return defaults.issue
    if state.unreadable:
        return next(iter(state.unreadable.values()))
    for ref in state.foreign:
        found = state.objects[ref]
        assert found is not None
        who = ", ".join(dict.fromkeys(filter(None, managers(found)))) or "somebody else"
        return (
            f"{ref} exists already and is no part of an async queue (made by {who}); it is not "
            "overwritten: rename one of them."
        )
    if (secret := state.secret) is not None and (keys := ", ".join(missing_keys(secret))):
        name = as_str(as_mapping(secret, "metadata").get("name"))
        return f"Secret {name} lacks {keys}; add them, or delete it, so that it is created again."
    if not find_target(state):
        return (
            "No Service leads to the port for requests of its Pods, which the gateway delivers to; "
            "create one, as `servedeck adopt` does."
        )
    return ""


def _gateway_writes(
    plan: AsyncQueuePlan, state: AsyncQueueState, defaults: AsyncQueueDefaults
) -> Iterator[ObjectWrite]:
    assert plan.settings is not None
    target = find_target(state)
    has_password = bool(plan.password_from)
    if (secret := state.secret) is not None:
        has_password = VALKEY_PASSWORD_KEY in as_mapping(secret, "data")
    platform = AsyncPlatform(
        image=defaults.image,
        store=defaults.store,
        has_password=has_password,
        public_path=_public_path(state),
        service=target,
    )
    if (gateway := state.gateway) is not None:
        # Whoever scaled the gateway meant it.
        platform = replace(platform, replicas=desired_replicas(gateway))
    for manifest in build_async_gateway(
        state.namespace,
        state.serving,
        platform,
        plan.settings,
        other_settings=state.other_settings,
    ):
        ref = ObjectRef.from_manifest(manifest)
        live = state.objects[ref]
        if live is not None:
            # A server-side apply creates an object that is missing, but not one with a uid.
            uid = as_mapping(live, "metadata").get("uid")
            manifest = {**manifest, "metadata": {**manifest["metadata"], "uid": uid}}
        yield ObjectWrite(ref, manifest, live=live)


def _public_path(state: AsyncQueueState) -> str:
    """The path that the routes remove; "" for one that a gateway does not take."""
    service = target_name(find_target(state))
    path = find_public_path(state.routes_as_to(service), state.serving, service)
    return path if re.fullmatch(_PUBLIC_PATH, path) else ""


def _route_writes(state: AsyncQueueState, *, force: bool) -> list[ObjectWrite]:
    wanted = [(one, _with_rules(one, state)) for one in state.routes]
    changed = [(live, one) for live, one in wanted if live != one]
    return write_routes(changed, force=force)


def _with_rules(route: JsonObject, state: AsyncQueueState) -> JsonObject:
    """The route with the rules of the gateway."""
    service = target_name(find_target(state))
    return add_async_rules(route, state.serving, service, state.pools)


def write_routes(
    changed: Sequence[tuple[JsonObject, JsonObject]], *, force: bool
) -> list[ObjectWrite]:
    """The writes that turn each route into what is wanted."""
    live = tuple(one for one, _ in changed)
    return plan_writes(ObjectChange(live, tuple(one for _, one in changed), (), ()), force=force)


def route_warnings(state: AsyncQueueState) -> Iterator[str]:
    """Which routes do not lead to the gateway, or not wholly, in sentences."""
    service = target_name(find_target(state))
    for route, read in zip(state.routes, state.routes_as_to(service), strict=True):
        name = one_line(sanitize(f"{route['kind']} {route['metadata']['name']}"))
        if not has_async_rules(_with_rules(route, state), state.serving):
            yield (
                f"{name} has no rule that sends to Service {service} alone, so it stays as it is: "
                "asynchronous requests through it are not stored."
            )
            continue
        if keeps_path(read, state.serving, service) or (
            find_public_path([read], state.serving, service) not in ("", _public_path(state))
        ):
            yield (
                f"{name} does not remove its path, or another one than that of the endpoint: the "
                "status and the result of a task can be asked for through other routes only."
            )
        if (owner := find_gitops_owner(route)) is not None:
            yield owner.revert_warning
    for route in state.openshift_routes:
        yield one_line(
            sanitize(
                f"Route {route['metadata']['name']} stays as it is: asynchronous requests through "
                "it are not stored."
            )
        )


def _effects(plan: AsyncQueuePlan, state: AsyncQueueState) -> Iterator[str]:
    yield from secret_effects(plan)
    created = [one.ref for one in plan.writes if one.live is None]
    changed = [one.ref for one in plan.writes if one.live is not None]
    if created:
        yield f"Created: {join(created)}."
    if changed:
        yield f"Changed: {join(changed)}."
    if any(one.kind == "Deployment" for one in changed):
        yield (
            "The Pods of the gateway are replaced one after the other. Tasks stay: what is being "
            "processed is handed back and delivered again."
        )
    if {"max_depth", "max_body_bytes"} & dict(plan.options.changes).keys():
        yield _store_sentence(plan)
    if plan.closed:
        yield "Its queue is closed; it is opened, so that it accepts tasks again."
    elif plan.opens_queue:
        yield "It is not known whether its queue is closed; if it is, it is opened."
    if plan.route_writes and (state.gateway is None or state.not_available):
        yield "Its routes are changed last, once a Pod of the gateway is available."
    for one in plan.route_writes:
        where = f"{one.ref.kind} {one.ref.name}"
        if one.ref.kind == "Ingress":
            yield (
                f"{where} sends all requests to the gateway, as an Ingress cannot match headers; "
                "it passes synchronous ones on."
            )
        else:
            yield (
                f"{where} sends requests with X-Async: true, or Prefer: respond-async, and those "
                "for their results to the gateway, and all others past it."
            )
    if not state.routes and not state.openshift_routes:
        yield (
            "No route leads to the serving: in the cluster, asynchronous requests go to "
            f"http://{state.serving}{ASYNC_SUFFIX}.{state.namespace}."
        )
    yield "Restarts no Pods of the serving."


def _store_sentence(plan: AsyncQueuePlan) -> str:
    """How much the requests that wait may take."""
    assert plan.settings is not None
    depth, size = plan.settings.max_depth, plan.settings.max_body_bytes
    return (
        f"Requests that wait may take {format_size(depth * size)} ({depth:,} of "
        f"{format_limit('max_body_bytes', size)}); a store that is full answers new ones with 503."
    )
