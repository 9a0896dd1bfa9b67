"""The catalog's labelling: how far people are with recordings, and who does it."""

from collections.abc import Iterable

from sqlalchemy import select

from lamm_pipeline.catalog.models import Labelling, now
from lamm_pipeline.catalog.part import CatalogPart, audit, hold

UNLABELLED = "unlabelled"


class LabellingCatalog(CatalogPart):
    """Reads and writes how far labelling is."""

    def set(self, recordings: Iterable[str], actor: str, *, status: str | None = None, labeler: str | None = None) -> int:
        """Say how far labelling of recordings is, who does it, or both; all of them or none.

        Args:
            recordings: their keys.
            actor: who says so.
            status: None leaves what is known.
            labeler: None leaves what is known, an empty text takes the recordings from whoever had them.

        Returns:
            How many are changed by it.

        Raises:
            InputError: a recording is unknown.
        """
        changed = 0
        with self._session() as session:
            for keys in hold(session, recordings):
                have = {row.recording: row for row in session.scalars(select(Labelling).where(Labelling.recording.in_(keys)))}
                for key in keys:
                    row = have.get(key) or _unlabelled(key)
                    before = {"status": row.status, "labeler": row.labeler}
                    row.status = row.status if status is None else status
                    row.labeler = row.labeler if labeler is None else labeler or None
                    after = {"status": row.status, "labeler": row.labeler}
                    if after != before:
                        row.updated_at, row.updated_by = now(), actor
                        session.add(row)
                        audit(session, actor, "labelling.set", key, {"before": before, "after": after})
                        changed += 1
        return changed

    def of(self, recording: str) -> Labelling:
        """How far labelling of a recording is; `unlabelled` where nobody has said anything."""
        with self._session() as session:
            return session.get(Labelling, recording) or _unlabelled(recording)

    def all(self) -> dict[str, Labelling]:
        """How far labelling is, of every recording of which somebody has said anything; one query."""
        with self._session() as session:
            return {row.recording: row for row in session.scalars(select(Labelling))}


def _unlabelled(recording: str) -> Labelling:
    return Labelling(recording=recording, status=UNLABELLED, labeler=None)
