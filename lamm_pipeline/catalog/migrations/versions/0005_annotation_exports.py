"""Annotation exports: ZIPs that were taken in."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To the new schema."""
    op.create_table(
        "annotation_exports",
        sa.Column("key", sa.String(100), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("quick_digest", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=True),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("added_by", sa.String(200), nullable=False),
        sa.Column("missing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("run_key", sa.String(200), nullable=True),
        sa.PrimaryKeyConstraint("key", name="pk_annotation_exports"),
        sa.UniqueConstraint("path", name="uq_annotation_exports_path"),
    )
    for column in ("quick_digest", "run_key"):
        op.create_index(f"ix_annotation_exports_{column}", "annotation_exports", [column])


def downgrade() -> None:
    """Back to revision 0004."""
    op.drop_table("annotation_exports")
