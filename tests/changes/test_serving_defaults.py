"""The platform's defaults of new servings."""

from __future__ import annotations

from pathlib import Path

from servedeck.changes.draft import Draft
from servedeck.changes.platform_settings import build_platform_settings
from servedeck.changes.serving_defaults import with_defaults
from servedeck.config import POD_DEFAULTS, Settings, load_settings
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.spec import FIELDS, ServingSpec

TEXTS = {
    "model_cache_path": "/cache",
    "fs_group": "1000",
    "node_selector": "zone=eu disk=ssd",
    "tolerations": "team=ml:NoSchedule",
    "runtime_class": "nvidia",
    "image_pull_secrets": "registry, mirror",
    "service_account": "models",
}


def test_each_default_is_a_setting_and_a_field() -> None:
    assert set(TEXTS) == set(POD_DEFAULTS) <= set(FIELDS)
    settings, wrong = Settings().with_platform_configmap(TEXTS)
    assert wrong == ()
    assert build_platform_settings(settings, lambda kind: True).defaults == TEXTS
    own = load_settings({}, {"SERVEDECK_TOLERATIONS": "a b:NoSchedule"}, Path("/nonexistent"))
    settings, _ = own.with_platform_configmap(TEXTS)
    defaults = build_platform_settings(settings, lambda kind: True).defaults
    assert defaults["tolerations"] == "a b:NoSchedule"
    assert build_platform_settings(Settings(), lambda kind: True).defaults == {}


def test_what_a_serving_gives_stays() -> None:
    given = ServingSpec(name="a", template="custom", runtime_class="", fs_group=None)
    spec, found = with_defaults(given, PlatformSettings(defaults=TEXTS))
    assert found == []
    wanted = {name: text for name, text in TEXTS.items() if name not in given.model_fields_set}
    assert spec == given.replace(**wanted)
    assert (spec.runtime_class, spec.fs_group) == ("", None)
    assert spec.image_pull_secrets == ("registry", "mirror")


def test_a_variable_of_the_cache_is_compared_with_the_path_of_the_platform() -> None:
    env = [{"name": "HF_HOME", "value": "/model-cache"}, {"name": "HOME", "value": "/cache"}]
    given = ServingSpec.model_validate({"name": "a", "template": "custom", "env": env})
    spec, _ = with_defaults(given, PlatformSettings(defaults={"model_cache_path": "/cache"}))
    assert [one.name for one in spec.env] == ["HF_HOME"]
    spec, _ = with_defaults(given, PlatformSettings())
    assert [one.name for one in spec.env] == ["HOME"]


def test_a_revision_begins_as_its_serving() -> None:
    given = ServingSpec(name="a", template="custom", revision_of="b")
    assert with_defaults(given, PlatformSettings(defaults=TEXTS)) == (given, [])


def test_a_wrong_setting_is_named() -> None:
    given = ServingSpec(name="a", template="custom")
    spec, [issue] = with_defaults(given, PlatformSettings(defaults={"fs_group": "many"}))
    assert spec == given
    assert issue.field == "fs_group"
    assert issue.message.startswith("The setting fs_group: 'many' is not a whole number")


def test_the_form_of_a_new_serving_has_them() -> None:
    draft = Draft("custom", "team-a")
    draft.texts["runtime_class"] = "mine"
    draft.propose(TEXTS)
    assert {name: draft.texts[name] for name in TEXTS} == TEXTS | {"runtime_class": "mine"}
    draft.texts["name"], draft.texts["image"], draft.texts["tolerations"] = "a", "x:1", ""
    spec, _ = draft.validate()
    assert spec is not None
    assert spec.tolerations == ()
    again, _ = with_defaults(spec, PlatformSettings(defaults=TEXTS))
    assert again == spec
