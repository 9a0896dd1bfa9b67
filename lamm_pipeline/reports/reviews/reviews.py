"""Reading and taking decisions for the review page: what its requests come down to, without HTTP."""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar
from urllib.parse import urlsplit

from lamm_pipeline.catalog.decisions import NewDecision
from lamm_pipeline.errors import InputError
from lamm_pipeline.extraction import frame_registry
from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.reports.files import is_version
from lamm_pipeline.reports.requests import actor_of
from lamm_pipeline.reports.reviews.data import ReviewData, Shown, mask_runs, read_review_data, shown
from lamm_pipeline.reports.reviews.state import changes_to_json, corrected_masks, progress, state_to_json
from lamm_pipeline.review.carry_over import Carried, extended
from lamm_pipeline.review.deciding import ASSETS, carried_to, decide
from lamm_pipeline.review.decision_log import decision_rows
from lamm_pipeline.review.decisions import SubjectKind
from lamm_pipeline.review.labelling_status import LabellingStatus, parse_status
from lamm_pipeline.storage.artifacts import Artifact, ArtifactKey

RECORDINGS_KEPT = 4
SUMMARIES_KEPT = 1000
MAX_DECISIONS = 500
MAX_MASK_FRAMES = 64
MAX_ROWS = 100
SHOWN_ASSETS = (*ASSETS.values(), "review_gifs", "tracks", "identities")

_T = TypeVar("_T")


class Reviews:
    """The reviews of all recordings. Keeps what it has read of the last few, and may be called by several threads."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._lock = threading.RLock()

    def recordings(self, offset: int, limit: int, query: str) -> dict[str, Any]:
        """Recordings by key. What has to be read for their counts is left to `summary`, one by one.

        Args:
            offset: how many to pass over.
            limit: how many at most.
            query: a part of the key or a tag; empty for all.
        """
        catalog = self.workspace.catalog
        tags, labellings = catalog.tags.all(), catalog.labelling.all()
        keys = catalog.recordings.all_keys()
        wanted = [key for key in keys if query.lower() in key.lower() or query in tags.get(key, ())]
        rows = []
        for key in wanted[offset : offset + limit]:
            labelling = labellings.get(key)
            rows.append(
                {
                    "recording": key,
                    "tags": tags.get(key, []),
                    "status": LabellingStatus.unlabelled if labelling is None else labelling.status,
                    "labeler": None if labelling is None else labelling.labeler,
                }
            )
        return {"recordings": rows, "total": len(wanted)}

    def summary(self, recording: str) -> dict[str, Any]:
        """Counts and progress of one recording; what nobody has decided on is not read for it."""
        self.workspace.catalog.recordings.get(recording)
        try:
            artifacts = self._shown(recording)
        except InputError:
            return {"ready": False, "frames": None, "progress": None, "lost": 0}
        watermark = self.workspace.catalog.decisions.watermark(recording)
        frames = artifacts.frames.counts.get("extracted_frames")
        if watermark == 0:
            annotations = 0 if artifacts.detections is None else artifacts.detections.counts.get("detections", 0)
            sequences = 0 if artifacts.sequences is None else artifacts.sequences.counts.get("sequences", 0)
            untouched = {"annotations": annotations, "annotations_reviewed": 0, "sequences": sequences, "sequences_reviewed": 0}
            return {"ready": True, "frames": frames, "progress": untouched, "lost": 0}

        def counted() -> dict[str, Any]:
            carried = self._carried(recording)
            return {"progress": asdict(progress(self.data(recording), carried.state)), "lost": len(carried.lost)}

        return {
            "ready": True,
            "frames": frames,
            **self._remember(("progress", recording, watermark, *artifacts.versions.values()), counted),
        }

    def data(self, recording: str) -> ReviewData:
        """What is shown of a recording.

        Raises:
            InputError: there is no such recording, or nothing of it to see.
        """
        self.workspace.catalog.recordings.get(recording)
        artifacts = self._shown(recording)
        key = ("data", recording, *self._in_force(recording).values())
        return self._remember(key, lambda: read_review_data(self.workspace.store, recording, artifacts))

    def data_as_json(self, recording: str) -> bytes:
        """The same as it is sent, which for long recordings takes longer to make than to send."""
        data = self.data(recording)
        key = ("sent", recording, *self._in_force(recording).values())
        return self._remember(key, lambda: json.dumps(data.to_json() | self._vocabulary(), separators=(",", ":")).encode())

    def image_name(self, frames: Artifact, index: int) -> str | None:
        """Name of the left image of a frame within the artifact; None where there is none."""

        def names() -> dict[int, str | None]:
            registry = frame_registry.read(frames.file(frame_registry.FILE_NAME))
            return {each.svo2_frame_index: each.image_left for each in registry.selected_frames}

        return self._remember(("images", frames.key, frames.version), names).get(index)

    def image_origin(self, recording: str) -> str | None:
        """Where images are redirected to, such as `https://bucket.example`; None where they are not."""
        try:
            frames = self._shown(recording).frames
        except InputError:
            return None
        link = self.workspace.store.link(frames, frame_registry.FILE_NAME)
        return None if link is None else "{0.scheme}://{0.netloc}".format(urlsplit(link))

    def state(self, recording: str) -> dict[str, Any]:
        """All that people have said about a recording."""
        data, watermark = self.data(recording), self.workspace.catalog.decisions.watermark(recording)
        found = state_to_json(data, self._carried(recording))
        return {"watermark": watermark, "versions": data.shown.versions, "labelling": self._labelling(recording), **found}

    def pulse(self, recording: str) -> dict[str, Any]:
        """What tells a page whether it still shows the present: the newest decision, and the versions in force."""
        self.workspace.catalog.recordings.get(recording)
        return {"watermark": self.workspace.catalog.decisions.watermark(recording), "versions": self._shown(recording).versions}

    def masks(self, recording: str, places: Sequence[int]) -> dict[str, Any]:
        """Masks of the annotations of some frames, corrected ones in place of the models'."""
        data = self.data(recording)
        frame_ids = [data.frame_ids[place] for place in places if 0 <= place < len(data.frame_ids)][:MAX_MASK_FRAMES]
        state = self._carried(recording).state
        return {"masks": mask_runs(data.shown, frame_ids) | corrected_masks(data, state, frame_ids)}

    def decide(self, recording: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Take decisions: all of a request, or none.

        A decision is about the version that the page shows. Where another one has come into force meanwhile it is taken all the same, on
        the version shown, goes over to what overlaps in the new one, and `outdated` says so.

        Args:
            recording: key of the recording.
            request: `actor`, `decisions` (each `kind`, `subject`, `action`, `value`, `version`, `note`), and `watermark`: the newest
                decision that the page knows of.

        Raises:
            InputError: something in it cannot be.
        """
        actor = actor_of(request)
        given = request.get("decisions")
        if not isinstance(given, list) or not 0 < len(given) <= MAX_DECISIONS or not all(isinstance(each, dict) for each in given):
            raise InputError(f"`decisions` is a list of 1 to {MAX_DECISIONS} decisions.")
        decisions = [_new_decision(each) for each in given]
        workspace = self.workspace
        ids = decide(workspace.store, workspace.catalog, workspace.ontology, workspace.false_positive_types, recording, decisions, actor)
        answer = self._changed(recording, request, ids, ids)
        versions = answer["versions"]
        if any(each.data_version is not None and each.data_version != versions.get(each.subject_kind) for each in decisions):
            answer["outdated"] = (
                "The data have been computed again since this page was opened. The decision stands on the version you saw and goes over to "
                "what overlaps it now. Reload to go on with the present data."
            )
        return answer

    def undo(self, recording: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Take decisions back, the newest first; undoing an undo puts a decision in force again.

        Args:
            recording: key of the recording.
            request: `actor`, `decisions` (ids), `watermark`.

        Raises:
            InputError: one of them is none of this recording's, or is taken back already.
        """
        actor = actor_of(request)
        wanted = request.get("decisions")
        if not isinstance(wanted, list) or not 0 < len(wanted) <= MAX_DECISIONS or not all(type(each) is int for each in wanted):
            raise InputError(f"`decisions` is a list of 1 to {MAX_DECISIONS} ids of decisions.")
        catalog = self.workspace.catalog
        known = {each.id for each in catalog.decisions.of(recording)}
        for each in wanted:
            if each not in known:
                raise InputError(f"Recording {recording} has no decision {each}.")
        ids = [catalog.decisions.undo(each, actor) for each in sorted(wanted, reverse=True)]
        return self._changed(recording, request, ids, wanted)

    def set_labelling(self, recording: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Say how far labelling is; `actor`, `status`."""
        self.workspace.catalog.labelling.set([recording], actor_of(request), status=parse_status(str(request.get("status"))))
        return self._labelling(recording)

    def history(self, recording: str, before: int | None, subject: str | None) -> dict[str, Any]:
        """Who said and did what, newest first: decisions, and what else the catalog's audit tells of the recording.

        Args:
            recording: key of the recording.
            before: only decisions with a lower id; for the next page.
            subject: only decisions about this; None for all.
        """
        catalog = self.workspace.catalog
        catalog.recordings.get(recording)
        log = catalog.decisions.of(recording)
        rows = [
            row
            for row in reversed(decision_rows(log, carried_to(self.workspace.store, recording, log)))
            if (before is None or row["id"] < before) and (subject is None or subject in (row["subject"], row["now"]))
        ]
        for row in rows[:MAX_ROWS]:
            row["value"] = {name: content for name, content in row["value"].items() if name != "mask_rle"}
        events = [
            {"at": f"{each.at:%Y-%m-%dT%H:%M:%SZ}", "actor": each.actor, "action": each.action, "details": each.details}
            for each in reversed(catalog.audit.events(recording))
            if each.action.startswith(("labelling.", "tag.", "decisions."))
        ]
        return {"decisions": rows[:MAX_ROWS], "more": len(rows) > MAX_ROWS, "events": events[:MAX_ROWS] if before is None else []}

    def _vocabulary(self) -> dict[str, Any]:
        """Classes, words for false positives and statuses, as they are offered."""
        classes = [{"id": each.id, "name": each.name, "color": each.color} for each in self.workspace.ontology.classes]
        return {"classes": classes, "false_positive_types": list(self.workspace.false_positive_types), "statuses": list(LabellingStatus)}

    def _changed(self, recording: str, request: Mapping[str, Any], ids: Sequence[int], concerned: Sequence[int]) -> dict[str, Any]:
        """What the page has to know after a change.

        Args:
            recording: key of the recording.
            request: with the `watermark` that the page knows of.
            ids: of the rows that the change added.
            concerned: ids of the decisions whose subjects are seen differently now.
        """
        data, watermark = self.data(recording), self.workspace.catalog.decisions.watermark(recording)
        carried = self._carried(recording)
        known = request.get("watermark")
        everything = (*carried.decisions, *(each.decision for each in carried.lost))
        return {
            "ids": ids,
            "watermark": watermark,
            "others": not isinstance(known, int) or any(each.id > known and each.id not in ids for each in everything),
            "versions": data.shown.versions,
            **changes_to_json(data, carried, {(each.subject_kind, each.subject) for each in carried.decisions if each.id in concerned}),
        }

    def _carried(self, recording: str) -> Carried:
        """The decisions, carried over to the data in force. Usually only those are read that were taken since the last time."""
        store, catalog = self.workspace.store, self.workspace.catalog
        in_force = self._in_force(recording)
        versions = {str(kind): in_force[asset] for kind, asset in ASSETS.items()}
        key = ("carried", recording, *versions.values())
        newest, carried = self._remember(key, lambda: (0, Carried((), ())))
        log = catalog.decisions.of(recording, after=newest)
        if log:
            grown = extended(carried, log, versions)
            if grown is None:
                log = catalog.decisions.of(recording)
                grown = carried_to(store, recording, log)
            carried = grown
            self._keep(key, (log[-1].id, carried))
        return carried

    def _shown(self, recording: str) -> Shown:
        """The artifacts shown. Their manifests are read once: those of long recordings are large."""
        return self._remember(("shown", recording, *self._in_force(recording).values()), lambda: shown(self.workspace.store, recording))

    def _in_force(self, recording: str) -> dict[str, str | None]:
        """Which version of what is shown is in force, by asset."""
        return {asset: self.workspace.store.current_version(ArtifactKey("recordings", recording, asset)) for asset in SHOWN_ASSETS}

    def _labelling(self, recording: str) -> dict[str, Any]:
        row = self.workspace.catalog.labelling.of(recording)
        return {"status": row.status, "labeler": row.labeler, "tags": self.workspace.catalog.tags.of(recording)}

    def _remember(self, key: tuple[Any, ...], make: Callable[[], _T]) -> _T:
        """What `make` returns, made once for a key."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                found: _T = self._kept[key]
                return found
        made = make()
        self._keep(key, made)
        return made

    def _keep(self, key: tuple[Any, ...], value: Any) -> None:
        """Keep something, the last few of each kind; the kind is the first word of the key."""
        with self._lock:
            self._kept[key] = value
            self._kept.move_to_end(key)
            mine = [each for each in self._kept if each[0] == key[0]]
            for oldest in mine[: -(SUMMARIES_KEPT if key[0] == "progress" else RECORDINGS_KEPT)]:
                del self._kept[oldest]


def _new_decision(given: Mapping[str, Any]) -> NewDecision:
    """A decision as the page sends it. Of its value only what actions know is taken, so that nobody forges where a subject is."""
    for name in ("kind", "subject", "action"):
        if not isinstance(given.get(name), str) or not given[name].isprintable():
            raise InputError(f"A decision has a text for `{name}`.")
    value, version, note = given.get("value", {}), given.get("version"), given.get("note", "")
    if not isinstance(value, dict) or not isinstance(note, str) or not (version is None or isinstance(version, str)):
        raise InputError("A decision has an object for `value`, and texts for `version` and `note`.")
    if given["kind"] in (SubjectKind.frame, SubjectKind.annotation, SubjectKind.sequence) and version is None:
        raise InputError("A decision says with `version` which data its author looked at.")
    if version is not None and not is_version(version):
        raise InputError(f"{version[:40]!r} is no version of data.")
    fields = {name: value[name] for name in ("class_id", "is_positive", "types", "box_xyxy") if name in value}
    return NewDecision(given["kind"], given["subject"], given["action"], fields, version, note)
