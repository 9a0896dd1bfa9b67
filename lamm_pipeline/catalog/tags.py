"""The catalog's tags: words that people put on recordings."""

from collections.abc import Iterable

from sqlalchemy import select

from lamm_pipeline.catalog.models import RecordingTag
from lamm_pipeline.catalog.part import CatalogPart, audit, hold


class TagCatalog(CatalogPart):
    """Reads and writes the tags."""

    def add(self, recordings: Iterable[str], tags: Iterable[str], actor: str) -> int:
        """Put tags on recordings; all of them or none.

        Returns:
            How many recordings are changed by it.

        Raises:
            InputError: a recording is unknown.
        """
        wanted, changed = set(tags), 0
        with self._session() as session:
            for keys in hold(session, recordings):
                have = {(row.recording, row.tag) for row in session.scalars(select(RecordingTag).where(RecordingTag.recording.in_(keys)))}
                for key in keys:
                    new = [each for each in sorted(wanted) if (key, each) not in have]
                    for each in new:
                        session.add(RecordingTag(recording=key, tag=each))
                        audit(session, actor, "tag.add", key, {"tag": each})
                    changed += bool(new)
        return changed

    def remove(self, recordings: Iterable[str], tags: Iterable[str], actor: str) -> int:
        """Take tags off recordings, all of them or none; those that a recording does not have make no difference.

        Returns:
            How many recordings are changed by it.

        Raises:
            InputError: a recording is unknown.
        """
        unwanted, changed = set(tags), set[str]()
        with self._session() as session:
            for keys in hold(session, recordings):
                query = select(RecordingTag).where(RecordingTag.recording.in_(keys), RecordingTag.tag.in_(unwanted))
                for row in session.scalars(query.order_by(RecordingTag.recording, RecordingTag.tag)):
                    session.delete(row)
                    audit(session, actor, "tag.remove", row.recording, {"tag": row.tag})
                    changed.add(row.recording)
        return len(changed)

    def of(self, recording: str) -> list[str]:
        """Tags of a recording, in alphabetical order."""
        with self._session() as session:
            return sorted(session.scalars(select(RecordingTag.tag).where(RecordingTag.recording == recording)))

    def all(self) -> dict[str, list[str]]:
        """Tags by recording, in alphabetical order; one query."""
        found: dict[str, list[str]] = {}
        with self._session() as session:
            for row in session.scalars(select(RecordingTag)):
                found.setdefault(row.recording, []).append(row.tag)
        return {recording: sorted(tags) for recording, tags in sorted(found.items())}
