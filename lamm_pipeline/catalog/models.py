"""Tables of the catalog: what is known about recordings and datasets, and who did what."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, ForeignKey, Integer, MetaData, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

SHA256_HEX = 64


class Base(DeclarativeBase):
    """Base of the tables; names every constraint so that migrations can change it on every database."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "ix": "ix_%(table_name)s_%(column_0_name)s",
        }
    )


class SourceDataset(Base):
    """A folder of recordings that somebody declared as one source."""

    __tablename__ = "datasets"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    folder: Mapped[str] = mapped_column(Text)
    prepare: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    created_by: Mapped[str] = mapped_column(String(200))


class Recording(Base):
    """One SVO2 file.

    Attributes:
        key: its partition.
        source_path: where it was found; path: what stages read.
        size, mtime_ns: of `path` when `digest` was computed.
        recorded_at: stamp of its first frame, UTC; None until it was read.
        seen_size, seen_mtime_ns: of `source_path` when its content was last looked at; another pair means that it may have changed.
        missing_since: since when there is no file at `source_path`.
        run_key: of the run that the sensor has still to ask for.
    """

    __tablename__ = "recordings"

    key: Mapped[str] = mapped_column(String(100), primary_key=True)
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"), index=True)
    source_path: Mapped[str] = mapped_column(Text, unique=True)
    path: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    quick_digest: Mapped[str] = mapped_column(String(SHA256_HEX), index=True)
    digest: Mapped[str | None] = mapped_column(String(SHA256_HEX), index=True)
    added_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    added_by: Mapped[str] = mapped_column(String(200))
    recorded_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), index=True)
    seen_size: Mapped[int | None] = mapped_column(BigInteger)
    seen_mtime_ns: Mapped[int | None] = mapped_column(BigInteger)
    missing_since: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    run_key: Mapped[str | None] = mapped_column(String(200), index=True)


class AnnotationExport(Base):
    """One ZIP with annotated images, read where it lies.

    Attributes:
        key: its partition.
        size, mtime_ns: when its content was last looked at; another pair means that it may have changed.
        digest: of the whole file, None until it was read.
        missing_since: since when there is no file at `path`.
        run_key: of the run that the sensor has still to ask for.
    """

    __tablename__ = "annotation_exports"

    key: Mapped[str] = mapped_column(String(100), primary_key=True)
    path: Mapped[str] = mapped_column(Text, unique=True)
    size: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    quick_digest: Mapped[str] = mapped_column(String(SHA256_HEX), index=True)
    digest: Mapped[str | None] = mapped_column(String(SHA256_HEX))
    added_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    added_by: Mapped[str] = mapped_column(String(200))
    missing_since: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    run_key: Mapped[str | None] = mapped_column(String(200), index=True)


class DatasetVersion(Base):
    """One immutable dataset version. The manifest on disk is the truth; title and description alone may change.

    Attributes:
        deleted_at: when it was deleted; the row stays, so that its number is not used again.
    """

    __tablename__ = "dataset_versions"
    __table_args__ = (UniqueConstraint("name", "number"),)

    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    name: Mapped[str] = mapped_column(String(150), index=True)
    number: Mapped[int] = mapped_column(Integer)
    title: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text)
    manifest_path: Mapped[str] = mapped_column(Text)
    manifest_digest: Mapped[str] = mapped_column(String(SHA256_HEX))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    created_by: Mapped[str] = mapped_column(String(200))
    deleted_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class AuditEvent(Base):
    """Somebody did something. Rows are only ever added."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    actor: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(50))
    subject: Mapped[str] = mapped_column(String(200), index=True)
    details: Mapped[dict[str, Any]] = mapped_column(JSON)


class DecisionRow(Base):
    """Somebody said something about a recording's data. Rows are only ever added: the database refuses to change or delete them."""

    __tablename__ = "decisions"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    actor: Mapped[str] = mapped_column(String(200))
    recording: Mapped[str] = mapped_column(ForeignKey("recordings.key"), index=True)
    subject_kind: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(50))
    value: Mapped[dict[str, Any]] = mapped_column(JSON)
    data_version: Mapped[str | None] = mapped_column(String(64))
    reverts: Mapped[int | None] = mapped_column(ForeignKey("decisions.id"))
    note: Mapped[str] = mapped_column(Text)


class Labelling(Base):
    """How far people are with labelling a recording, and who does it. What it was before is in the audit trail."""

    __tablename__ = "labelling"

    recording: Mapped[str] = mapped_column(ForeignKey("recordings.key"), primary_key=True)
    status: Mapped[str] = mapped_column(String(32))
    labeler: Mapped[str | None] = mapped_column(String(200))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    updated_by: Mapped[str] = mapped_column(String(200))


class RecordingTag(Base):
    """A word that people put on a recording."""

    __tablename__ = "recording_tags"

    recording: Mapped[str] = mapped_column(ForeignKey("recordings.key"), primary_key=True)
    tag: Mapped[str] = mapped_column(String(100), primary_key=True, index=True)


class EvaluationRow(Base):
    """A model that was run over frames: a folder of predictions, read where it lies.

    Attributes:
        created_at: when the model was run.
        labels_folder, class_map: SemanticKITTI labels of the recordings and the names of their numbers; None without.
    """

    __tablename__ = "evaluations"

    id: Mapped[str] = mapped_column(String(100), primary_key=True)
    model_id: Mapped[str] = mapped_column(Text)
    path: Mapped[str] = mapped_column(Text, unique=True)
    classes: Mapped[list[str]] = mapped_column(JSON)
    members: Mapped[int | None] = mapped_column(Integer)
    foreground: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    note: Mapped[str] = mapped_column(Text)
    labels_folder: Mapped[str | None] = mapped_column(Text)
    class_map: Mapped[str | None] = mapped_column(Text)
    added_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    added_by: Mapped[str] = mapped_column(String(200))


class EvaluationRecording(Base):
    """What an evaluation has for one recording, which the catalog need not know.

    Attributes:
        frames: number of frames that it predicts for.
        stamp: names, sizes and times of the files when they were last looked at; another one means that they may have changed.
        digest: of their content, None until they were read.
    """

    __tablename__ = "evaluation_recordings"

    evaluation: Mapped[str] = mapped_column(ForeignKey("evaluations.id"), primary_key=True)
    recording: Mapped[str] = mapped_column(String(100), primary_key=True, index=True)
    frames: Mapped[int] = mapped_column(Integer)
    stamp: Mapped[str] = mapped_column(String(SHA256_HEX))
    digest: Mapped[str | None] = mapped_column(String(SHA256_HEX))


def now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)
