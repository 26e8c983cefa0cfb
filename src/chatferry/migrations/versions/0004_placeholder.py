"""Holds the place of the revision that another branch brings; dropped at the merge."""

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass
