"""Beginning a second revision of a serving, and taking its settings over into the first one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from servedeck.changes.edit.edit import Edit
from servedeck.changes.object_lists import list_replicasets
from servedeck.changes.operations.rollout_plans import find_revision, with_template_of
from servedeck.changes.traffic_split.planning import describe_missing
from servedeck.changes.traffic_split.state import TrafficState, read_state
from servedeck.cluster.http.connection import Connection
from servedeck.cluster.http.errors import ApiError, ClusterError
from servedeck.cluster.resources import DEPLOYMENT, SERVICE, Resource
from servedeck.serving.edit.differences import FieldDifference
from servedeck.serving.edit.merge import Side, merge_fields
from servedeck.serving.edit.second_revision import begin_revision, free_name, revision_of
from servedeck.serving.edit.takeover import make_revision_base, take_over
from servedeck.serving.objects.unmanaged_fields import UnmanagedField
from servedeck.serving.spec.mapping.json_values import JsonObject, as_mapping, as_str, mappings
from servedeck.serving.spec.names import validate_label
from servedeck.serving.spec.spec import ServingSpec
from servedeck.serving.status.revisions import read_revisions
from servedeck.serving.text import one_line, sanitize


class RevisionError(ClusterError):
    """A second revision cannot begin, or not be taken over; str() is one sentence."""


@dataclass(frozen=True, slots=True)
class RevisionStart:
    """A second revision of a serving that does not exist yet."""

    main: ServingSpec
    """The serving of the endpoint as it is now."""
    spec: ServingSpec
    """The second revision, to be changed and created."""
    model: str
    """The served model of the serving, sanitized; "" if it is not known."""
    unmanaged_fields: tuple[UnmanagedField, ...]
    """Fields of the Deployment that the second revision will not have."""
    base: str = ""
    """What it begins from, as `RevisionBase.encode` returns it."""
    others: tuple[str, ...] = ()
    """A sentence about each revision of the serving that there is already and gets no requests."""


@dataclass(frozen=True, slots=True)
class Takeover:
    """An edit of the first serving that takes the settings of its second revision over."""

    edit: Edit
    """Without `force`, what was changed in both since the second revision began is a conflict of
    it, and stays as the first serving has it."""
    other: str
    """Name of the second revision, sanitized."""
    differences: tuple[FieldDifference, ...]
    """What changes, conflicts too; () if the first serving has all of it already."""
    gets_others: bool
    """Whether the first serving still gets requests that the split does not divide."""
    forced: ServingSpec
    """What is wanted if all conflicts have the value of the second revision."""
    has_base: bool = True
    """Whether it is known what the second revision began from."""

    def merged_with(self, current: ServingSpec) -> ServingSpec:
        """The wanted serving on top of it as it is read again; what others changed too meanwhile
        has the value of the second revision."""
        base, wanted = self.edit.base.spec, self.forced
        conflicts = merge_fields(base, wanted, current).conflicts
        return merge_fields(base, wanted, current, dict.fromkeys(conflicts, Side.MINE)).spec

    @property
    def base_warning(self) -> str:
        """That others' changes of the first serving may be reverted, one sentence; "" if none
        are."""
        if self.has_base or not self.differences:
            return ""
        name = one_line(sanitize(self.edit.base.spec.name))
        fields = ", ".join(one.name for one in self.differences)
        return (
            f"It is not known what {self.other} began from, so these fields of {name} get its "
            f"values also where they were changed in {name} since: {fields}."
        )

    @property
    def safe_sentence(self) -> str:
        """Why the restart of its Pods does not interrupt the endpoint."""
        name = one_line(sanitize(self.edit.base.spec.name))
        text = (
            f"{self.other} answers all requests meanwhile, so a restart of the Pods of {name} does "
            "not interrupt its endpoint."
        )
        if self.gets_others:
            text += f" Requests of its other rules, such as asynchronous ones, still go to {name}."
        return text


async def start_revision(
    connection: Connection, namespace: str, serving: str, *, name: str = "", number: int = 0
) -> RevisionStart:
    """What a second revision of a serving is made of. `name` is its name, "" for the first free one
    of NAME-canary, NAME-canary-2, …; `number` is the revision of the Deployment whose Pod template
    it gets, 0 for the current one. Raises RevisionError and other ClusterErrors."""
    state = await read_state(connection, namespace, serving)
    if problem := await _find_start_problem(connection, state):
        raise RevisionError(one_line(sanitize(problem)))
    deployments, services = [
        await _list_objects(connection, one, namespace) for one in (DEPLOYMENT, SERVICE)
    ]
    others = list(_describe_others(state, deployments or [], services))
    taken = {_name(one) for one in (*(deployments or []), *(services or []))}
    if name in taken:
        where = f"namespace {namespace} has a Deployment or a Service of that name"
        raise RevisionError(one_line(sanitize(f"{name} is taken: {where}; choose another name.")))
    name = name or free_name(serving, taken)
    source = state.live.import_serving()
    main = source.spec
    base = make_revision_base(source, name, state.main.model)
    if number:
        deployment = await _read_earlier(connection, state.live.objects[0], number)
        source = replace(state.live, objects=[deployment, *state.live.objects[1:]]).import_serving()
    spec = begin_revision(source, name, state.main.model)
    # Its other objects are those of its own settings, not copies.
    left = [one for one in source.unmanaged_fields if one.object.startswith(DEPLOYMENT.kind)]
    return RevisionStart(main, spec, state.main.model, tuple(left), base.encode(), tuple(others))


def _describe_others(
    state: TrafficState, deployments: list[JsonObject], services: list[JsonObject] | None
) -> Iterator[str]:
    """The revisions that get no requests. Raises RevisionError for one that was not created as a
    whole."""
    for one in deployments:
        if revision_of(one) != state.serving or as_mapping(one, "metadata").get(
            "deletionTimestamp"
        ):
            continue
        leading = {_name(each) for each in services or [] if _leads_to(each, one)}
        name, command = _name(one), f"servedeck delete {state.namespace}/{_name(one)}"
        if services is not None and not leading:
            text = (
                f"{name} is a revision of {state.serving} already, of which no Service leads to "
                "the Pods: it was not created as a whole. To begin again, delete it first: "
                f"{command}"
            )
            raise RevisionError(one_line(sanitize(text)))
        if not leading.intersection(state.others):
            text = (
                f"{name} is a revision of {state.serving} already and gets no requests; if it is "
                f"not needed: {command}"
            )
            yield one_line(sanitize(text))


def _leads_to(service: JsonObject, deployment: JsonObject) -> bool:
    """Whether a Service selects the Pods of a Deployment."""
    selector = as_mapping(service, "spec", "selector")
    labels = as_mapping(deployment, "spec", "template", "metadata", "labels")
    return bool(selector) and selector.items() <= labels.items()


def _name(obj: JsonObject) -> str:
    return as_str(as_mapping(obj, "metadata").get("name"))


async def _find_start_problem(connection: Connection, state: TrafficState) -> str:
    """Why no second revision can begin, one sentence; "" if it can."""
    name = state.main.label
    if not state.live.objects:
        return await describe_missing(connection, state.namespace, state.serving)
    if state.main.is_deleted:
        return "The serving is being deleted."
    if first := state.main.revision_of:
        return f"{name} is itself a revision of {first}; begin another revision of {first} instead."
    if problem := validate_label(state.serving, "The name of the serving"):
        return f"No other serving can have the label that says whose revision it is. {problem}"
    return state.problem


async def _read_earlier(connection: Connection, deployment: JsonObject, number: int) -> JsonObject:
    """The Deployment with the Pod template of an earlier revision. Raises ClusterError."""
    replicasets = await list_replicasets(connection, deployment)
    target, problem = find_revision(number, read_revisions(deployment, replicasets))
    if target is None:
        raise RevisionError(problem)
    if target.is_current:
        return deployment
    [source] = [one for one in replicasets if as_mapping(one, "metadata").get("uid") == target.uid]
    return with_template_of(deployment, source)


async def _list_objects(
    connection: Connection, resource: Resource, namespace: str
) -> list[JsonObject] | None:
    """The objects of a namespace; None if they may not be listed."""
    try:
        response = await connection.get_json(resource.collection_path(namespace))
    except ApiError as error:
        if error.code != 403:
            raise
        return None
    return mappings(response.get("items"))


async def start_takeover(
    connection: Connection,
    namespace: str,
    serving: str,
    *,
    prometheus_url: str = "",
    force: bool = False,
) -> Takeover:
    """The edit with which the first serving gets the settings of the second revision that answers
    its requests. `prometheus_url` is as for `begin_edit`; with `force`, what was changed in both
    gets the value of the second revision. Raises RevisionError and other ClusterErrors."""
    state = await read_state(connection, namespace, serving)
    if not state.live.objects:
        raise RevisionError(await describe_missing(connection, namespace, serving))
    if problem := find_takeover_problem(state):
        raise RevisionError(problem)
    revision = state.revision
    assert revision is not None  # else there is a problem
    main, model = state.live.import_serving(prometheus_url), state.main.model
    found = take_over(main, revision.spec, model, revision.base)
    forced = take_over(main, revision.spec, model, revision.base, Side.MINE).spec
    edit = Edit(main, forced) if force else Edit(main, found.spec, conflicts=found.conflicts)
    return Takeover(
        edit,
        revision.side.label,
        revision.differences,
        state.has_async_queue or state.has_ingress or state.has_openshift_route or bool(state.kept),
        forced,
        has_base=revision.base is not None,
    )


async def find_takeover_obstacle(
    connection: Connection, namespace: str, serving: str, other: str
) -> str:
    """Why the settings of the second revision `other` must not be taken over any more, one
    sentence; "" if they still can be. Raises ClusterError."""
    state = await read_state(connection, namespace, serving)
    if problem := find_takeover_problem(state):
        return problem
    assert state.other is not None  # else there is a problem
    if state.other.label != other:
        return f"{state.other.label} gets the requests by now, not {other}; begin again."
    return ""


def find_takeover_problem(state: TrafficState) -> str:
    """Why the settings of the second revision are not taken over now, one sentence, sanitized; ""
    if they can be. The Pods of the first serving restart: it must not be what answers."""
    name, revision = state.main.label, state.revision
    problem = state.problem or state.gone
    if state.main.is_deleted:
        problem = "The serving is being deleted."
    if problem:
        return one_line(sanitize(problem))
    if not state.is_split or state.other is None:
        return (
            f"All requests of {name} go to it already, so there is nothing to finish; send a share "
            "to a revision of it first."
        )
    other = state.other.label
    if revision is None:
        return (
            f"{other} is a serving of its own, no revision of {name}, so its settings are not "
            f"taken over; edit {name}, or go on with {other}."
        )
    if not state.is_promoted:
        return (
            f"{name} still gets a share of the requests; promote {other} first, so that none "
            "depends on it while its Pods restart."
        )
    if not state.other.ready:
        return (
            f"{other} has no ready replica, so nothing would answer while the Pods of {name} "
            "restart; wait until it has."
        )
    return ""
