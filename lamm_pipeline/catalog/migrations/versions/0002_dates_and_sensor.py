"""When a recording was recorded, and what the sensor last saw of its file."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ADDED = ("recorded_at", "seen_size", "seen_mtime_ns", "missing_since", "run_key")


def upgrade() -> None:
    """To the new schema; what was seen of a file so far is its size and stamp when it was taken in."""
    op.add_column("recordings", sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("recordings", sa.Column("seen_size", sa.BigInteger(), nullable=True))
    op.add_column("recordings", sa.Column("seen_mtime_ns", sa.BigInteger(), nullable=True))
    op.add_column("recordings", sa.Column("missing_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("recordings", sa.Column("run_key", sa.String(200), nullable=True))
    op.execute("UPDATE recordings SET seen_size = size, seen_mtime_ns = mtime_ns")
    op.create_index("ix_recordings_recorded_at", "recordings", ["recorded_at"])
    op.create_index("ix_recordings_run_key", "recordings", ["run_key"])


def downgrade() -> None:
    """Back to revision 0001."""
    op.drop_index("ix_recordings_run_key", "recordings")
    op.drop_index("ix_recordings_recorded_at", "recordings")
    with op.batch_alter_table("recordings") as table:
        for name in ADDED:
            table.drop_column(name)
