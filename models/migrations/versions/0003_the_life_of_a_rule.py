"""The life of a rule: what is in force, what staff should know, vouchers taken back."""

import sqlalchemy as sa
from alembic import op

import models.types

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notice",
        sa.Column("topic", sa.String(length=60), nullable=False),
        sa.Column("said", sa.String(), nullable=False),
        sa.Column("since", models.types.UTCDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("topic", name=op.f("pk_notice")),
    )
    op.create_table(
        "rule_in_force",
        sa.Column("rule_id", sa.String(length=100), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("since", models.types.UTCDateTime(), nullable=False),
        sa.Column("live_since", models.types.UTCDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("rule_id", name=op.f("pk_rule_in_force")),
    )
    with op.batch_alter_table("rule_pass", schema=None) as batch_op:
        batch_op.add_column(sa.Column("status", sa.String(length=10), server_default="live", nullable=False))

    with op.batch_alter_table("voucher", schema=None) as batch_op:
        batch_op.add_column(sa.Column("voided_at", models.types.UTCDateTime(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("voucher", schema=None) as batch_op:
        batch_op.drop_column("voided_at")

    with op.batch_alter_table("rule_pass", schema=None) as batch_op:
        batch_op.drop_column("status")

    op.drop_table("rule_in_force")
    op.drop_table("notice")
