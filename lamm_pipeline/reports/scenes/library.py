"""The scene library in the browser: what its requests come down to, without HTTP."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any
from urllib.parse import urlsplit

from lamm_pipeline.curation.assets import refreshed
from lamm_pipeline.datasets.creation import create_dataset_version, refresh_selections
from lamm_pipeline.datasets.hard_cases import HardCases
from lamm_pipeline.datasets.settings import DatasetSettings, ExportFormat, SplitSettings
from lamm_pipeline.datasets.splits.split_frames import SPLITS
from lamm_pipeline.datasets.splits.split_table import read_summary
from lamm_pipeline.datasets.versions import check_name
from lamm_pipeline.errors import InputError
from lamm_pipeline.orchestration.config import parse
from lamm_pipeline.orchestration.instance import add_version_partitions, open_instance
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.reports.hotspots import hard_cases_of, preview
from lamm_pipeline.reports.requests import actor_of
from lamm_pipeline.review.labelling_status import LabellingStatus
from lamm_pipeline.scenes.library.changes import change_labelling, change_tag
from lamm_pipeline.scenes.library.collect import KEY
from lamm_pipeline.scenes.library.dataset_draft import BUILT, DatasetDraft, change_draft, discard_draft, drafts, read_draft
from lamm_pipeline.scenes.library.present import SceneLibrary
from lamm_pipeline.scenes.library.query import COLUMNS, Question
from lamm_pipeline.scenes.library.scene_split import split_scenes
from lamm_pipeline.scenes.library.scene_table import Scene
from lamm_pipeline.storage.artifacts import ArtifactKey

PAGE_ROWS = 50
MAX_CHOSEN = 5000
DRAFT_ROWS = 200
FORMATS = tuple(map(str, ExportFormat))


class Scenes:
    """The scene library of a root. May be called by several threads."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.library = SceneLibrary(workspace.store, workspace.catalog, workspace.settings.root)

    def page(self, given: Mapping[str, str], offset: int) -> dict[str, Any]:
        """Some of the scenes that fit.

        Args:
            given: `where`, `search` and `sort`, see `Question`.
            offset: how many to pass over.

        Raises:
            InputError: the question cannot be answered.
        """
        queries, question = self.library.queries(), _question(given)
        totals = queries.totals(question)
        return {
            "scenes": [_shown(each) for each in queries.page(question, offset, PAGE_ROWS)],
            "total": totals.scenes,
            "all": len(queries.scenes),
            "totals": asdict(totals),
            "rows": PAGE_ROWS,
            "refreshed": self.workspace.store.current_version(KEY) is not None,
        }

    def vocabulary(self) -> dict[str, Any]:
        """What the page offers: columns, tags, labelers, statuses, drafts, datasets, formats."""
        queries = self.library.queries()
        names = sorted({each.name for each in self.workspace.catalog.versions.all()})
        return {
            "columns": dict(COLUMNS),
            "tags": queries.words("tags"),
            "labelers": queries.words("labeler"),
            "models": queries.words("uncertainty_model"),
            "score_kinds": queries.words("uncertainty_score"),
            "statuses": list(LabellingStatus),
            "drafts": [{"name": each.name, "scenes": len(each.scenes)} for each in drafts(self.workspace.settings.root)],
            "datasets": names,
            "formats": FORMATS,
        }

    def change(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Change many scenes at once, all of them or none.

        Args:
            request: `actor`; which scenes: `scenes` (ids), or `where`, `search` and `expected`, the number of scenes that the page has
                shown for them; and what: `tag`, `untag`, or `status` and `labeler`.

        Raises:
            InputError: something in it cannot be, or other scenes fit by now.
        """
        who, catalog = actor_of(request), self.workspace.catalog
        chosen = self._chosen(request)
        given = {name: request[name] for name in ("tag", "untag", "status", "labeler") if request.get(name) is not None}
        if not all(isinstance(value, str) for value in given.values()):
            raise InputError("`tag`, `untag`, `status` and `labeler` are texts.")
        if "tag" in given or "untag" in given:
            changed = change_tag(catalog, chosen, given.get("tag", given.get("untag", "")), who, remove="untag" in given)
        else:
            changed = change_labelling(catalog, chosen, who, status=given.get("status"), labeler=given.get("labeler"))
        return {"chosen": len(chosen), "changed": changed}

    def draft(self, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """A draft with its statistics.

        Args:
            name: of the dataset.
            given: `split`, settings of the split as texts or numbers; `resplit`; and `hard_cases`, a condition, see `HardCases`.

        Raises:
            InputError: a dataset cannot be called so, or the split cannot be.
        """
        return self._drafted(read_draft(self.workspace.settings.root, name), given)

    def change_draft(self, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Put scenes into a draft, or take them out.

        Args:
            name: of the dataset.
            request: `actor`; which scenes, see `change`; `remove` to take them out; `split`, `resplit` and `hard_cases`, see `draft`.

        Raises:
            InputError: something in it cannot be.
        """
        who, chosen = actor_of(request), self._chosen(request)
        known = self.library.queries().scenes
        for each in chosen:
            if each not in known and not request.get("remove"):
                raise InputError(f"There is no scene {each[:100]!r}.")
        changes = {"remove": chosen} if request.get("remove") else {"add": chosen}
        return self._drafted(change_draft(self.workspace.settings.root, name, who, **changes), request)

    def save(self, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Make the next version of a dataset from its draft, as `lamm dataset create` does, and throw the draft away.

        Its export is launched by the sensor `export_built_versions`.

        Args:
            name: of the dataset.
            request: `actor`, `scenes` (how many the page has shown), `split`, `formats`, `resplit`, `hard_cases`, `title`, `description`.

        Raises:
            InputError: something in it cannot be, or the draft has changed.
        """
        who, workspace = actor_of(request), self.workspace
        root = workspace.settings.root
        draft = read_draft(root, name)
        if not draft.scenes:
            raise InputError("The draft is empty. Put scenes into it first.")
        if request.get("scenes") != len(draft.scenes):
            raise InputError("The draft has changed since you saw it. Look at it again, then save it.")
        texts = {each: request.get(each, "") for each in ("title", "description")}
        if not all(isinstance(text, str) and len(text) <= 10_000 for text in texts.values()):
            raise InputError("`title` and `description` are texts.")
        hard_cases = _hard_cases(request)
        settings: DatasetSettings = parse(
            DatasetSettings, {"split": _split(request), "formats": request.get("formats") or []}, "the dataset version"
        )
        with open_instance(root) as instance:
            for artifact, planned in refresh_selections(
                workspace.store, workspace.catalog, workspace.ontology, draft.scenes, hard_cases=hard_cases
            ):
                instance.report_runless_asset_event(refreshed(artifact, planned))
            version, new = create_dataset_version(
                root,
                workspace.store,
                workspace.catalog,
                workspace.ontology,
                name,
                draft.scenes,
                settings,
                actor=who,
                hard_cases=hard_cases,
                resplit=request.get("resplit") is True,
                **texts,
            )
            add_version_partitions(instance, [version.key])
        workspace.catalog.audit.add(who, BUILT, version.key, {"scenes": len(draft.scenes)})
        discard_draft(root, name)
        return {"version": version.key, "new": new, "scenes": len(draft.scenes)}

    def image_origin(self) -> str | None:
        """Where previews are redirected to, such as `https://bucket.example`; None where they are not."""
        for scene in self.library.queries().scenes.values():
            place = scene.image_preview or scene.points_preview
            if place is None:
                continue
            scope, partition, asset, version, name = place.split("/")
            artifact = self.workspace.store.find(ArtifactKey(scope, partition, asset), version)
            link = None if artifact is None else self.workspace.store.link(artifact, name)
            return None if link is None else "{0.scheme}://{0.netloc}".format(urlsplit(link))
        return None

    def _chosen(self, request: Mapping[str, Any]) -> Sequence[str]:
        if "scenes" in request:
            given = request["scenes"]
            if not isinstance(given, list) or not 0 < len(given) <= MAX_CHOSEN or not all(isinstance(each, str) for each in given):
                raise InputError(f"`scenes` is a list of 1 to {MAX_CHOSEN} ids.")
            return given
        texts = {name: request.get(name, "") for name in ("where", "search")}
        if not all(isinstance(text, str) for text in texts.values()):
            raise InputError("`where` and `search` are texts.")
        found = self.library.queries().ids(Question(**texts))
        if request.get("expected") != len(found):
            raise InputError(f"Other scenes fit by now: {len(found)}. Look at them again.")
        return found

    def _drafted(self, draft: DatasetDraft, given: Mapping[str, Any]) -> dict[str, Any]:
        queries = self.library.queries()
        scenes = [queries.scenes[each] for each in draft.scenes if each in queries.scenes]
        split: SplitSettings = parse(SplitSettings, _split(given), "the split")
        condition = _hard_cases(given)
        hard = None if condition is None else preview(self.workspace, condition, draft.scenes)
        taken = (
            scenes
            if hard is None
            else [replace(each, frames=hard["scenes"][each.scene_id]) for each in scenes if each.scene_id in hard["scenes"]]
        )
        planned = split_scenes(draft.name, taken, split, {} if given.get("resplit") else self._previous(draft.name))
        classless = [each.scene_id for each in scenes if each.annotations is None]
        return {
            "name": draft.name,
            "scenes": [_shown(each) for each in scenes[:DRAFT_ROWS]],
            "total": len(scenes),
            "changed_at": draft.changed_at,
            "changed_by": draft.changed_by,
            "frames": sum(each.frames or 0 for each in scenes),
            "annotations": sum(each.annotations or 0 for each in scenes),
            "duration_s": sum(each.duration_s or 0.0 for each in scenes),
            "statuses": _counted(each.status for each in scenes),
            "without_detections": classless[:20],
            "split": planned.scenes,
            "sentence": planned.sentence,
            "notes": planned.notes,
            "previous": self._newest(draft.name),
            "hard_cases": None if hard is None else {**hard, "scenes": len(hard["scenes"])},
        }

    def _newest(self, name: str) -> str | None:
        rows = self.workspace.catalog.versions.all(check_name(name))
        return rows[-1].key if rows else None

    def _previous(self, name: str) -> dict[str, str]:
        """Split of the scenes that the newest published split of a dataset keeps whole."""
        for row in reversed(self.workspace.catalog.versions.all(check_name(name))):
            artifact = self.workspace.store.current(ArtifactKey("datasets", row.key, "splits"))
            if artifact is not None:
                parts = read_summary(artifact.folder)["splits"]
                return {scene: split for split in SPLITS for scene in parts[split]["recordings"]}
        return {}


def _shown(scene: Scene) -> dict[str, Any]:
    captured = None if scene.captured_at is None else f"{scene.captured_at:%Y-%m-%d %H:%M}"
    row = {name: value for name, value in asdict(scene).items() if name not in {"artifacts", "source_path"}}
    return row | {"captured_at": captured}


def _question(given: Mapping[str, str]) -> Question:
    return Question(given.get("where", ""), given.get("search", ""), given.get("sort") or "scene_id")


def _split(given: Mapping[str, Any]) -> dict[str, Any]:
    split = given.get("split", {})
    if not isinstance(split, dict):
        raise InputError("`split` is an object.")
    return {"balance_by": "recordings", **split}


def _hard_cases(given: Mapping[str, Any]) -> HardCases | None:
    condition = given.get("hard_cases") or {}
    if not isinstance(condition, dict):
        raise InputError("`hard_cases` is an object.")
    return hard_cases_of(condition)


def _counted(words: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return counts
