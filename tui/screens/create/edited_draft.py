"""A draft while it is edited: validated, saved after each change, and with undo."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from servedeck.changes.draft import Draft
from servedeck.serving.objects.manifests import SystemVolume, system_volumes
from servedeck.serving.objects.routes import PlatformSettings
from servedeck.serving.spec.issues import Issue, errors
from servedeck.serving.spec.spec import ServingSpec
from tui.screens.create import field_options, steps
from tui.screens.create.draft_autosave import DraftAutosave
from tui.screens.create.undo_history import UndoHistory


class EditedDraft:
    """The draft, its spec and its issues."""

    def __init__(
        self,
        draft: Draft,
        autosave: DraftAutosave,
        on_validated: Callable[[ServingSpec | None, Sequence[Issue]], None],
        validate: Callable[[], tuple[ServingSpec | None, Sequence[Issue]]] | None = None,
    ) -> None:
        """`validate` returns the wanted spec and its issues; by default those of a new serving."""
        self.draft = draft
        self.autosave = autosave
        self.undo_history = UndoHistory(draft)
        self.spec: ServingSpec | None = None
        """None if the draft cannot be parsed."""
        self.issues: Sequence[Issue] = ()
        self._on_validated = on_validated
        self._validate = validate or draft.validate
        self._last_valid_spec: ServingSpec | None = None

    def validate(self) -> None:
        """Validate the draft as it is now."""
        self.spec, self.issues = self._validate()
        self._last_valid_spec = self.spec or self._last_valid_spec
        self._on_validated(self.spec, self.issues)

    @property
    def errors(self) -> list[Issue]:
        return errors(self.issues)

    def errors_in_step(self, step: int) -> list[Issue]:
        return [one for one in self.errors if steps.step_of(one.field) == step]

    def section_path(self, number: int) -> str:
        """Path of the first field of a section of the review; the button that adds a row if it is
        an empty list, "" if there is no such section."""
        sections = steps.review_sections(self.draft)
        if number > len(sections):
            return ""
        path = sections[number - 1].paths[0]
        return f"add.{path}" if self.draft.rows.get(path) == [] else path

    def record_change(self, path: str = "") -> None:
        """The draft was changed at `path`: it can be undone, and is saved shortly."""
        typed = bool(path) and not field_options.is_choice_field(path, self.draft)
        self.undo_history.record(path, typed=typed)
        self.autosave.schedule()

    def move_to(self, step: int, focused_field: str) -> None:
        """Save where the draft is edited."""
        self.draft.step, self.draft.focused_field = step, focused_field
        self.record_change()

    def replace(self, spec: ServingSpec) -> None:
        """Replace all values; the namespace stays if the spec has none."""
        loaded = Draft.from_spec(spec)
        loaded.texts["namespace"] = loaded.texts["namespace"] or self.draft.texts["namespace"]
        self.draft.texts, self.draft.rows = loaded.texts, loaded.rows
        self.record_change()

    def system_volumes(self, platform: PlatformSettings) -> Sequence[SystemVolume]:
        """The system's volumes for the draft, or for its last version that could be parsed."""
        spec = self._last_valid_spec or Draft(self.draft.template.id).validate()[0]
        return system_volumes(spec, platform) if spec else ()
