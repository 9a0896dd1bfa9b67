"""Dataset versions that were deleted stay known, so that their numbers are not used again."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To the new schema."""
    op.add_column("dataset_versions", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Back to revision 0003; deleted versions would look as if they were there, so they go."""
    op.execute("DELETE FROM dataset_versions WHERE deleted_at IS NOT NULL")
    with op.batch_alter_table("dataset_versions") as table:
        table.drop_column("deleted_at")
