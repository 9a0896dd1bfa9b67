"""The catalog's evaluations: folders of predictions that were taken in."""

from collections.abc import Sequence

from sqlalchemy import delete, select

from lamm_pipeline.catalog.models import EvaluationRecording, EvaluationRow
from lamm_pipeline.catalog.part import CatalogPart, audit
from lamm_pipeline.errors import InputError


class EvaluationCatalog(CatalogPart):
    """Reads and writes the evaluations."""

    def put(self, row: EvaluationRow, recordings: Sequence[EvaluationRecording], actor: str, action: str) -> None:
        """Remember an evaluation and what it has for each recording, in place of what was known of both; audited as `action`."""
        with self._session() as session:
            session.execute(delete(EvaluationRecording).where(EvaluationRecording.evaluation == row.id))
            session.merge(row)
            session.flush()  # the recordings refer to it
            session.add_all(recordings)
            details = {"path": row.path, "model_id": row.model_id, "recordings": len(recordings)}
            audit(session, actor, action, row.id, details)

    def find(self, evaluation_id: str) -> EvaluationRow | None:
        """The evaluation with this id, or None."""
        with self._session() as session:
            return session.get(EvaluationRow, evaluation_id)

    def get(self, evaluation_id: str) -> EvaluationRow:
        """The evaluation with this id.

        Raises:
            InputError: there is none.
        """
        row = self.find(evaluation_id)
        if row is None:
            raise InputError(f"No evaluation is called {evaluation_id!r}. `lamm evaluation list` shows those there are.")
        return row

    def at(self, path: str) -> EvaluationRow | None:
        """The evaluation that lies in this folder, or None."""
        with self._session() as session:
            return session.scalar(select(EvaluationRow).where(EvaluationRow.path == path))

    def all(self) -> Sequence[EvaluationRow]:
        """All evaluations, oldest model run first."""
        with self._session() as session:
            return session.scalars(select(EvaluationRow).order_by(EvaluationRow.created_at, EvaluationRow.id)).all()

    def recordings(self, evaluation_id: str) -> Sequence[EvaluationRecording]:
        """What an evaluation has for each recording, by recording."""
        row = EvaluationRecording
        with self._session() as session:
            return session.scalars(select(row).where(row.evaluation == evaluation_id).order_by(row.recording)).all()

    def of_recording(self, recording: str) -> list[tuple[EvaluationRow, EvaluationRecording]]:
        """The evaluations of a recording, oldest model run first."""
        own = EvaluationRecording
        query = (
            select(EvaluationRow, own)
            .join(own, own.evaluation == EvaluationRow.id)
            .where(own.recording == recording)
            .order_by(EvaluationRow.created_at, EvaluationRow.id)
        )
        with self._session() as session:
            return [(row, part) for row, part in session.execute(query)]

    def set_digest(self, evaluation_id: str, recording: str, stamp: str, digest: str) -> None:
        """Remember what the predictions for a recording were when they were read."""
        with self._session() as session:
            row = session.get(EvaluationRecording, (evaluation_id, recording))
            if row is not None:
                row.stamp, row.digest = stamp, digest
