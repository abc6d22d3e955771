"""What becomes of the Secrets of an async gateway when it is turned on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from servedeck.changes.async_queue.plan import AsyncQueuePlan
from servedeck.changes.async_queue.secrets import (
    PasswordError,
    PasswordSource,
    create_secret,
    has_view_key,
    read_password,
    secret_manifest,
    view_secret_manifest,
)
from servedeck.changes.async_queue.sending import delete_object
from servedeck.changes.async_queue.state import AsyncQueueState, describe_ref, secret_refs
from servedeck.changes.operations.execution import rejection_text
from servedeck.changes.operations.operation import ObjectDeletion
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError
from servedeck.serving.objects.async_gateway import SECRET_KEYS, VALKEY_PASSWORD_KEY, VIEW_KEY
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str
from servedeck.serving.text import one_line, sanitize

_SAMPLE = "eA=="
"""In place of the keys, which are made when a Secret is created."""


async def with_secrets(
    connection: Connection,
    plan: AsyncQueuePlan,
    state: AsyncQueueState,
    source: PasswordSource | None,
) -> AsyncQueuePlan:
    """The plan with what becomes of the Secrets. Raises ClusterError."""
    try:
        plan = await _with_secret(connection, plan, state, source)
        return await _with_view_secret(connection, plan, state)
    except PasswordError as error:
        return replace(plan, blocked=one_line(sanitize(str(error))))
    except ApiError as error:
        return replace(plan, blocked=rejection_text(error))


async def _with_secret(
    connection: Connection,
    plan: AsyncQueuePlan,
    state: AsyncQueueState,
    source: PasswordSource | None,
) -> AsyncQueuePlan:
    if (secret := state.secret) is not None:
        warnings = await _secret_warnings(connection, secret, source)
        return replace(plan, warnings=(*plan.warnings, *warnings))
    if source is not None:
        await read_password(connection, source)
    sample = secret_manifest(state.namespace, state.serving, dict.fromkeys(SECRET_KEYS, _SAMPLE))
    await create_secret(connection, sample, dry_run=True)
    return replace(plan, creates_secret=True, password_from=str(source or ""))


async def _secret_warnings(
    connection: Connection, secret: JsonObject, source: PasswordSource | None
) -> tuple[str, ...]:
    """That the password in the gateway's Secret is not that of the platform: it is not overwritten,
    and where that of the platform may not be read, nothing is said."""
    if source is None:
        return ()
    try:
        wanted = await read_password(connection, source)
    except PasswordError:
        return ()
    if as_mapping(secret, "data").get(VALKEY_PASSWORD_KEY) == wanted:
        return ()
    name = as_str(as_mapping(secret, "metadata").get("name"))
    text = (
        f"{VALKEY_PASSWORD_KEY} in Secret {name} is not the password in Secret "
        f"{source.namespace}/{source.name}; change it there, and restart the gateway."
    )
    return (one_line(sanitize(text)),)


async def _with_view_secret(
    connection: Connection, plan: AsyncQueuePlan, state: AsyncQueueState
) -> AsyncQueuePlan:
    """It is never changed: with another key, it is deleted and made again."""
    found = state.view_secret
    if found is None:
        sample = view_secret_manifest(state.namespace, state.serving, _SAMPLE)
        await create_secret(connection, sample, dry_run=True)
        return replace(plan, creates_view_secret=True)
    if not plan.creates_secret and has_view_key(found, state.secret):
        return plan
    ref = secret_refs(state.namespace, state.serving)[1]
    uid = as_str(as_mapping(found, "metadata").get("uid"))
    deletion = ObjectDeletion(ref, describe_ref(ref), uid)
    await delete_object(connection, deletion, dry_run=True)
    return replace(plan, creates_view_secret=True, replaced_view_secret=deletion)


def secret_effects(plan: AsyncQueuePlan) -> Iterator[str]:
    """What happens to the Secrets, in sentences."""
    secret, view_secret = map(
        describe_ref, secret_refs(plan.options.namespace, plan.options.serving)
    )
    if plan.creates_secret:
        copied = f", and the password of Valkey, from Secret {plan.password_from}"
        copied = copied if plan.password_from else ""
        yield f"{secret} is created, with random keys{copied}."
    if plan.creates_view_secret:
        if plan.replaced_view_secret is not None:
            yield f"{view_secret} is deleted, as its {VIEW_KEY} is not that of {secret}."
        yield f"{view_secret} is created, with the {VIEW_KEY} alone: it shows all but bodies."
