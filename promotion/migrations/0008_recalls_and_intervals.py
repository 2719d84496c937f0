import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from pipelines.seals import SealTable
from promotion.intervals import NO_TWO_PLACEMENTS, GuardIntervals


class Migration(migrations.Migration):
    dependencies = [
        ("promotion", "0007_signed_approvals"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Affected",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "uses",
                    models.TextField(
                        help_text="Canonical JSON: how the owner used it, newest first."
                    ),
                ),
                ("listed_at", models.DateTimeField()),
                ("acknowledged_at", models.DateTimeField(blank=True, null=True)),
                ("note", models.TextField(blank=True, default="")),
                (
                    "acknowledged_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="affected_by_recalls",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="affected",
                        to="promotion.version",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "affected",
                "ordering": ["id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("acknowledged_at__isnull", True)),
                        fields=["owner", "-id"],
                        name="recalls_to_acknowledge",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("version", "owner"), name="one_notice_of_a_recall_per_owner"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("acknowledged_at__isnull", True), ("acknowledged_by__isnull", True)
                            ),
                            models.Q(
                                ("acknowledged_at__isnull", False),
                                ("acknowledged_by__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="whoever_acknowledged_a_recall_did_it_at_a_time",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Download",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                (
                    "count",
                    models.PositiveIntegerField(
                        default=1,
                        help_text="In how many hours, about: not every request is counted.",
                    ),
                ),
                (
                    "by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="downloads",
                        to="promotion.version",
                    ),
                ),
            ],
            options={
                "ordering": ["-last_at", "-id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("version", "by"), name="one_download_per_version_and_person"
                    )
                ],
            },
        ),
        SealTable(
            "Affected", unsealed=("note",), write_once=("acknowledged_by_id", "acknowledged_at")
        ),
        GuardIntervals("Placement", same=("package_id", "environment_id"), name=NO_TWO_PLACEMENTS),
    ]
