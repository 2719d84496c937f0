from django.db import migrations, models

from pipelines.seals import SealTable, Unseal

UNSEALED = ("state", "recalled_by_id", "recalled_at", "recall_reason", "replacement_id")


class Migration(migrations.Migration):
    dependencies = [
        ("pipelines", "0012_artifact_retention"),
        ("promotion", "0005_image_repositories"),
    ]

    operations = [
        migrations.AddField(
            model_name="repository",
            name="retention",
            field=models.JSONField(
                blank=True,
                help_text="Which versions are kept (keeping.py); null: all of them.",
                null=True,
            ),
        ),
        Unseal("Version", unsealed=UNSEALED),
        migrations.AddField(
            model_name="version",
            name="pruned_at",
            field=models.DateTimeField(
                blank=True,
                help_text="Since when its bytes are no longer kept. Never again.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="version",
            name="pruned_reason",
            field=models.TextField(blank=True, default="", db_default=""),
        ),
        migrations.AddField(
            model_name="version",
            name="last_downloaded_at",
            field=models.DateTimeField(
                blank=True, help_text="About when somebody last fetched its bytes.", null=True
            ),
        ),
        migrations.AddConstraint(
            model_name="version",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("pruned_at__isnull", True), ("pruned_reason", "")),
                    models.Q(
                        ("pruned_at__isnull", False),
                        models.Q(("pruned_reason", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="a_pruned_version_says_why",
            ),
        ),
        SealTable(
            "Version",
            unsealed=(*UNSEALED, "pruned_reason", "last_downloaded_at"),
            write_once=("pruned_at",),
        ),
    ]
