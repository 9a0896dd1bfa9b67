"""Source datasets, recordings, dataset versions, audit."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To the new schema."""
    op.create_table(
        "datasets",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("prepare", sa.String(16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_datasets"),
        sa.UniqueConstraint("name", name="uq_datasets_name"),
    )
    op.create_table(
        "recordings",
        sa.Column("key", sa.String(100), nullable=False),
        sa.Column("dataset_id", sa.String(36), nullable=True),
        sa.Column("source_path", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("quick_digest", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=True),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("added_by", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_recordings"),
        sa.UniqueConstraint("source_path", name="uq_recordings_source_path"),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name="fk_recordings_dataset_id_datasets"),
    )
    op.create_index("ix_recordings_dataset_id", "recordings", ["dataset_id"])
    op.create_index("ix_recordings_quick_digest", "recordings", ["quick_digest"])
    op.create_index("ix_recordings_digest", "recordings", ["digest"])
    op.create_table(
        "dataset_versions",
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("name", sa.String(150), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("manifest_path", sa.Text(), nullable=False),
        sa.Column("manifest_digest", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_dataset_versions"),
        sa.UniqueConstraint("name", "number", name="uq_dataset_versions_name"),
    )
    op.create_index("ix_dataset_versions_name", "dataset_versions", ["name"])
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("action", sa.String(50), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_at", "audit", ["at"])
    op.create_index("ix_audit_subject", "audit", ["subject"])


def downgrade() -> None:
    """Back to no catalog."""
    for table in ("audit", "dataset_versions", "recordings", "datasets"):
        op.drop_table(table)
