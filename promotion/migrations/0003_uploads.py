import django.db.models.deletion
from django.db import migrations, models

from pipelines.seals import SealTable


class Migration(migrations.Migration):
    dependencies = [
        ("pipelines", "0004_runs_for_real"),
        ("promotion", "0002_seal"),
    ]

    operations = [
        migrations.CreateModel(
            name="UploadOutcome",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("refused", models.TextField(blank=True)),
                ("at", models.DateTimeField()),
                (
                    "artifact",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="upload_outcome",
                        to="pipelines.artifact",
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="upload_outcomes",
                        to="promotion.version",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("refused", ""), ("version__isnull", False)),
                            models.Q(
                                ("version__isnull", True), models.Q(("refused", ""), _negated=True)
                            ),
                            _connector="OR",
                        ),
                        name="an_upload_became_a_version_or_was_refused",
                    )
                ],
            },
        ),
        SealTable("UploadOutcome"),
    ]
