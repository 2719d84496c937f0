from django.db import migrations

from pipelines.seals import SealTable


class Migration(migrations.Migration):
    dependencies = [("promotion", "0001_initial")]

    operations = [
        SealTable(
            "Version",
            unsealed=(
                "state",
                "recalled_by_id",
                "recalled_at",
                "recall_reason",
                "replacement_id",
            ),
        ),
        SealTable("VersionFile"),
        SealTable("Evidence"),
        SealTable("PolicyRevision"),
        SealTable(
            "Promotion",
            unsealed=(
                "state",
                "gates",
                "reason",
                "lease_until",
                "attempt",
                "decided_at",
                "finished_at",
            ),
        ),
        SealTable("PromotionItem"),
        SealTable("Approval"),
        SealTable("Placement", write_once=("until",)),
        SealTable("Selection"),
        SealTable("LedgerEntry"),
    ]
