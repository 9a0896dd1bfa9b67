"""The catalog's dataset versions."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from lamm_pipeline.catalog.models import DatasetVersion, now
from lamm_pipeline.catalog.part import CatalogPart, audit
from lamm_pipeline.errors import InputError


class VersionCatalog(CatalogPart):
    """Reads and writes the dataset versions."""

    def add(self, row: DatasetVersion) -> None:
        """Remember a dataset version.

        Raises:
            InputError: the version exists.
        """
        try:
            with self._session() as session:
                session.add(row)
                audit(session, row.created_by, "version.create", row.key, {"manifest_digest": row.manifest_digest})
        except IntegrityError:
            raise InputError(f"The dataset version {row.key} exists already; versions never change. Create the next one.") from None

    def all(self, name: str | None = None, *, deleted: bool = False) -> Sequence[DatasetVersion]:
        """Dataset versions by name and number: all, or those of one name; deleted ones only when they are asked for too."""
        query = select(DatasetVersion).order_by(DatasetVersion.name, DatasetVersion.number)
        query = query if name is None else query.where(DatasetVersion.name == name)
        with self._session() as session:
            return session.scalars(query if deleted else query.where(DatasetVersion.deleted_at.is_(None))).all()

    def get(self, key: str) -> DatasetVersion:
        """One dataset version.

        Raises:
            InputError: there is none with this key (any more).
        """
        with self._session() as session:
            return _version(session, key)

    def edit(self, key: str, actor: str, *, title: str | None = None, description: str | None = None) -> DatasetVersion:
        """Give a version another title or description; None leaves what there is. Nothing else of a version can change.

        Raises:
            InputError: there is no such version (any more).
        """
        with self._session() as session:
            row = _version(session, key)
            before = {"title": row.title, "description": row.description}
            row.title = row.title if title is None else title
            row.description = row.description if description is None else description
            after = {"title": row.title, "description": row.description}
            if after != before:
                audit(session, actor, "version.edit", key, {"before": before, "after": after})
            return row

    def delete(self, key: str, actor: str) -> None:
        """Note that a version is deleted.

        Raises:
            InputError: there is no such version (any more).
        """
        with self._session() as session:
            row = _version(session, key)
            row.deleted_at = now()
            audit(session, actor, "version.delete", key, {"manifest_digest": row.manifest_digest})


def _version(session: Session, key: str) -> DatasetVersion:
    row = session.get(DatasetVersion, key)
    if row is None:
        raise InputError(
            f"{key!r} is no dataset version: it has no manifest. Create one with the job `create_dataset` or `lamm dataset create`, "
            "not by adding a partition by hand."
        )
    if row.deleted_at is not None:
        raise InputError(f"Dataset version {key!r} was deleted on {row.deleted_at:%Y-%m-%d}. `lamm dataset list` shows those there are.")
    return row
