"""The catalog's source datasets: folders of recordings that somebody declared as one source."""

import re
import uuid
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from lamm_pipeline.catalog.models import SourceDataset, now
from lamm_pipeline.catalog.part import CatalogPart, audit
from lamm_pipeline.errors import InputError

_NAME = re.compile(r"[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,199}")


class SourceDatasetCatalog(CatalogPart):
    """Reads and writes the source datasets."""

    def add(self, name: str, folder: Path, prepare: str, actor: str) -> SourceDataset:
        """Declare `folder` as the source dataset `name`.

        Raises:
            InputError: the name is taken, or cannot be the name of a folder.
        """
        if _NAME.fullmatch(name) is None:
            raise InputError(
                f"A source dataset cannot be called {name!r}: it names a folder, so use no slash and no leading dot, and at most 200 "
                "characters. Give it another --name."
            )
        row = SourceDataset(id=str(uuid.uuid4()), name=name, folder=str(folder), prepare=prepare, created_at=now(), created_by=actor)
        try:
            with self._session() as session:
                session.add(row)
                audit(session, actor, "dataset.add", name, {"folder": str(folder), "prepare": prepare})
        except IntegrityError:
            raise InputError(f"There is a source dataset {name!r} already. Choose another name, or scan that one again.") from None
        return row

    def find(self, name: str) -> SourceDataset | None:
        """The source dataset `name`, or None."""
        with self._session() as session:
            return session.scalar(select(SourceDataset).where(SourceDataset.name == name))

    def get(self, dataset_id: str) -> SourceDataset:
        """The source dataset with this id."""
        with self._session() as session:
            return session.get_one(SourceDataset, dataset_id)

    def all(self) -> Sequence[SourceDataset]:
        """All source datasets, by name."""
        with self._session() as session:
            return session.scalars(select(SourceDataset).order_by(SourceDataset.name)).all()
