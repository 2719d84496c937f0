from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


def begin_at_the_end(apps: Any, schema_editor: Any) -> None:
    """Nobody is told of what happened before there were notices."""
    head = apps.get_model("promotion", "LedgerHead").objects.first()
    told = apps.get_model("promotion", "Told")
    told.objects.create(pk=1, position=head.size if head else 0)


class Migration(migrations.Migration):
    dependencies = [
        ("promotion", "0009_evidence"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Notice",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "key",
                    models.CharField(
                        help_text="What it tells of: the same is told once.", max_length=120
                    ),
                ),
                (
                    "type",
                    models.CharField(
                        help_text="The ledger entry's type, or our own.", max_length=64
                    ),
                ),
                (
                    "topic",
                    models.CharField(blank=True, help_text="Like promotion:12.", max_length=120),
                ),
                (
                    "asks",
                    models.BooleanField(
                        default=False, help_text="Whether the recipient is to act."
                    ),
                ),
                ("subject", models.CharField(max_length=300)),
                (
                    "path",
                    models.CharField(
                        help_text="The page, without the site's address.", max_length=500
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("read_at", models.DateTimeField(blank=True, null=True)),
                (
                    "recipient",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Letter",
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
                            ("waiting", "Waiting"),
                            ("sent", "Sent"),
                            ("spared", "Not needed any more"),
                            ("failed", "Given up"),
                        ],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("attempt", models.PositiveIntegerField(default=0)),
                (
                    "due_at",
                    models.DateTimeField(
                        help_text="When it is tried next; also the lease of a try."
                    ),
                ),
                (
                    "error",
                    models.CharField(
                        blank=True, help_text="Why the last try failed.", max_length=300
                    ),
                ),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
                (
                    "notice",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="letter",
                        to="promotion.notice",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="Told",
            fields=[
                (
                    "id",
                    models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False),
                ),
                (
                    "position",
                    models.PositiveBigIntegerField(
                        default=0, help_text="The first sequence number that nobody was told of."
                    ),
                ),
                (
                    "attempt",
                    models.PositiveIntegerField(
                        default=0, help_text="How often this one was tried."
                    ),
                ),
                ("lease_until", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "verbose_name_plural": "told",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id", 1)), name="there_is_one_who_tells"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Webhook",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=64, unique=True)),
                ("url", models.CharField(max_length=1000)),
                (
                    "types",
                    models.JSONField(default=list, help_text="Types of events; none: all of them."),
                ),
                ("created_at", models.DateTimeField()),
                ("sealed", models.TextField(help_text="The secret, encrypted; shown once.")),
                ("failing_since", models.DateTimeField(blank=True, null=True)),
                ("tried_at", models.DateTimeField(blank=True, null=True)),
                ("disabled_at", models.DateTimeField(blank=True, null=True)),
                ("disabled_why", models.CharField(blank=True, max_length=300)),
                (
                    "created_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "event",
                    models.CharField(
                        help_text="The event's id, the same on each try.", max_length=80
                    ),
                ),
                ("type", models.CharField(max_length=64)),
                (
                    "line",
                    models.CharField(
                        help_text="Those of one line are sent in order.", max_length=200
                    ),
                ),
                ("body", models.TextField(help_text="The CloudEvent, as canonical JSON.")),
                ("created_at", models.DateTimeField()),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("delivered", "Delivered")],
                        default="waiting",
                        max_length=10,
                    ),
                ),
                ("attempt", models.PositiveIntegerField(default=0)),
                (
                    "due_at",
                    models.DateTimeField(
                        help_text="When it is tried next; also the lease of a try."
                    ),
                ),
                (
                    "status",
                    models.PositiveSmallIntegerField(
                        help_text="What was answered last.", null=True
                    ),
                ),
                ("error", models.CharField(blank=True, max_length=300)),
                ("delivered_at", models.DateTimeField(blank=True, null=True)),
                (
                    "webhook",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="promotion.webhook",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "deliveries",
                "ordering": ["-id"],
            },
        ),
        migrations.AddIndex(
            model_name="notice",
            index=models.Index(
                condition=models.Q(("read_at__isnull", True)),
                fields=["recipient", "-id"],
                name="unread_notices_of_person",
            ),
        ),
        migrations.AddIndex(
            model_name="notice",
            index=models.Index(fields=["recipient", "-id"], name="notices_of_person"),
        ),
        migrations.AddIndex(
            model_name="notice",
            index=models.Index(
                condition=models.Q(("asks", True), ("read_at__isnull", True)),
                fields=["topic"],
                name="open_questions_by_topic",
            ),
        ),
        migrations.AddConstraint(
            model_name="notice",
            constraint=models.UniqueConstraint(
                fields=("recipient", "key"), name="one_notice_per_person_and_event"
            ),
        ),
        migrations.AddIndex(
            model_name="letter",
            index=models.Index(
                condition=models.Q(("state", "waiting")),
                fields=["due_at"],
                name="letters_that_are_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="letter",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["waiting", "sent", "spared", "failed"])),
                name="letter_state_is_known",
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("state", "waiting")),
                fields=["due_at"],
                name="deliveries_that_are_due",
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("state", "waiting")),
                fields=["webhook", "line", "id"],
                name="deliveries_waiting_in_line",
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(fields=["webhook", "-id"], name="deliveries_of_webhook"),
        ),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.UniqueConstraint(
                fields=("webhook", "event"), name="one_delivery_per_webhook_and_event"
            ),
        ),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["waiting", "delivered"])),
                name="delivery_state_is_known",
            ),
        ),
        migrations.RunPython(begin_at_the_end, migrations.RunPython.noop),
    ]
