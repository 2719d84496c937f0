import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from pipelines.seals import SealTable


class Migration(migrations.Migration):
    dependencies = [
        ("pipelines", "0010_blob_states"),
        ("promotion", "0004_targets"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ImageDetails",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "details",
                    models.TextField(
                        help_text="Canonical JSON: platforms, and the layers of each."
                    ),
                ),
                ("digest", models.CharField(help_text="sha256:… of the details.", max_length=71)),
                ("at", models.DateTimeField()),
            ],
            options={
                "verbose_name_plural": "image details",
            },
        ),
        migrations.CreateModel(
            name="ImageLook",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("same", "The tag names this image"),
                            ("moved", "The tag names another image now"),
                            ("untagged", "The tag is gone"),
                            ("gone", "The image is gone"),
                            ("unknown", "The registry could not be asked"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "tag_digest",
                    models.CharField(
                        blank=True,
                        help_text="What the tag named; empty where there was no tag.",
                        max_length=71,
                    ),
                ),
                (
                    "problem",
                    models.TextField(blank=True, help_text="Why the registry could not be asked."),
                ),
                (
                    "referrers",
                    models.JSONField(
                        default=list,
                        help_text="Signatures and attestations that refer to the image.",
                    ),
                ),
                ("looked_at", models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name="repository",
            name="bound_by",
            field=models.ForeignKey(
                blank=True,
                help_text="Who set the registry, and must be allowed to use the connection to this day.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="repository",
            name="connection",
            field=models.ForeignKey(
                blank=True,
                help_text="With what the registry is asked.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="repositories",
                to="pipelines.serviceconnection",
            ),
        ),
        migrations.AddField(
            model_name="repository",
            name="registry",
            field=models.CharField(
                blank=True,
                db_default="",
                help_text="Where its images lie: a registry, with a path or not.",
                max_length=255,
            ),
        ),
        migrations.AddConstraint(
            model_name="repository",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind", "docker"), ("registry", ""), _connector="OR"),
                name="only_images_lie_in_a_registry",
            ),
        ),
        migrations.AddConstraint(
            model_name="repository",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("connection__isnull", True),
                    models.Q(
                        models.Q(("registry", ""), _negated=True), ("bound_by__isnull", False)
                    ),
                    _connector="OR",
                ),
                name="a_connection_is_for_a_registry_and_bound_by_somebody",
            ),
        ),
        migrations.AddField(
            model_name="imagedetails",
            name="version",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="image_details",
                to="promotion.version",
            ),
        ),
        migrations.AddField(
            model_name="imagelook",
            name="version",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="image_look",
                to="promotion.version",
            ),
        ),
        migrations.AddConstraint(
            model_name="imagelook",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["same", "moved", "untagged", "gone", "unknown"])),
                name="look_state_is_known",
            ),
        ),
        migrations.AddIndex(
            model_name="imagelook",
            index=models.Index(fields=["looked_at"], name="looks_oldest_first"),
        ),
        SealTable("ImageDetails"),
    ]
