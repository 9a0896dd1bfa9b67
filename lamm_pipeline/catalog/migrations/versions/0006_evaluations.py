"""Evaluations: folders of predictions that were taken in."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To the new schema."""
    op.create_table(
        "evaluations",
        sa.Column("id", sa.String(100), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("classes", sa.JSON(), nullable=False),
        sa.Column("members", sa.Integer(), nullable=True),
        sa.Column("foreground", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("labels_folder", sa.Text(), nullable=True),
        sa.Column("class_map", sa.Text(), nullable=True),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("added_by", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_evaluations"),
        sa.UniqueConstraint("path", name="uq_evaluations_path"),
    )
    op.create_table(
        "evaluation_recordings",
        sa.Column("evaluation", sa.String(100), nullable=False),
        sa.Column("recording", sa.String(100), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("stamp", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("evaluation", "recording", name="pk_evaluation_recordings"),
        sa.ForeignKeyConstraint(["evaluation"], ["evaluations.id"], name="fk_evaluation_recordings_evaluation_evaluations"),
    )
    op.create_index("ix_evaluation_recordings_recording", "evaluation_recordings", ["recording"])


def downgrade() -> None:
    """Back to revision 0005."""
    op.drop_table("evaluation_recordings")
    op.drop_table("evaluations")
