from django.db import migrations, models

from pipelines.seals import SealTable, Unseal


class Migration(migrations.Migration):
    dependencies = [
        ("pipelines", "0011_uploads"),
    ]

    operations = [
        Unseal("Artifact"),
        migrations.AddField(
            model_name="artifact",
            name="pruned_at",
            field=models.DateTimeField(
                blank=True,
                help_text="Since when its bytes are no longer kept for its sake.",
                null=True,
            ),
        ),
        migrations.AddIndex(
            model_name="artifact",
            index=models.Index(
                condition=models.Q(("pruned_at__isnull", True)),
                fields=["created_at"],
                name="artifacts_with_bytes_by_age",
            ),
        ),
        migrations.CreateModel(
            name="Collection",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("began_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField()),
                (
                    "condemned",
                    models.PositiveIntegerField(help_text="How many blobs it condemned."),
                ),
                (
                    "removed",
                    models.PositiveIntegerField(help_text="How many blobs' bytes it removed."),
                ),
                ("removed_bytes", models.PositiveBigIntegerField()),
                (
                    "failed",
                    models.PositiveIntegerField(
                        help_text="How many the storage did not let it remove."
                    ),
                ),
            ],
            options={"ordering": ["-id"]},
        ),
        SealTable("Artifact", write_once=("pruned_at",)),
    ]
