"""Decisions of people, labelling status and labeler, tags."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

REFUSAL = "decisions are only ever added"


def upgrade() -> None:
    """To the new schema. The database itself refuses to change or delete a decision."""
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("recording", sa.String(100), nullable=False),
        sa.Column("subject_kind", sa.String(16), nullable=False),
        sa.Column("subject", sa.String(200), nullable=False),
        sa.Column("action", sa.String(50), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("data_version", sa.String(64), nullable=True),
        sa.Column("reverts", sa.Integer(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_decisions"),
        sa.ForeignKeyConstraint(["recording"], ["recordings.key"], name="fk_decisions_recording_recordings"),
        sa.ForeignKeyConstraint(["reverts"], ["decisions.id"], name="fk_decisions_reverts_decisions"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_decisions_recording", "decisions", ["recording"])
    op.create_table(
        "labelling",
        sa.Column("recording", sa.String(100), nullable=False),
        sa.Column("status", sa.String(32), nullable=False),
        sa.Column("labeler", sa.String(200), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_by", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("recording", name="pk_labelling"),
        sa.ForeignKeyConstraint(["recording"], ["recordings.key"], name="fk_labelling_recording_recordings"),
    )
    op.create_table(
        "recording_tags",
        sa.Column("recording", sa.String(100), nullable=False),
        sa.Column("tag", sa.String(100), nullable=False),
        sa.PrimaryKeyConstraint("recording", "tag", name="pk_recording_tags"),
        sa.ForeignKeyConstraint(["recording"], ["recordings.key"], name="fk_recording_tags_recording_recordings"),
    )
    op.create_index("ix_recording_tags_tag", "recording_tags", ["tag"])
    if op.get_bind().dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER decisions_no_{event.lower()} BEFORE {event} ON decisions BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            )
    else:
        op.execute(
            f"CREATE FUNCTION refuse_decision_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$"
        )
        op.execute(
            "CREATE TRIGGER decisions_no_change BEFORE UPDATE OR DELETE ON decisions FOR EACH ROW EXECUTE FUNCTION refuse_decision_change()"
        )


def downgrade() -> None:
    """Back to revision 0002; what people decided is lost."""
    for table in ("recording_tags", "labelling", "decisions"):
        op.drop_table(table)
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION refuse_decision_change()")
