import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from pipelines.seals import SealTable, Unseal


class Migration(migrations.Migration):
    dependencies = [
        ("pipelines", "0012_artifact_retention"),
        ("promotion", "0008_recalls_and_intervals"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ArtifactEvidence",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("statement", "Statement"),
                            ("result", "Result"),
                            ("junit", "Test report"),
                            ("sarif", "Scan"),
                            ("cyclonedx", "Bill of materials, CycloneDX"),
                            ("spdx", "Bill of materials, SPDX"),
                            ("provenance", "Provenance"),
                        ],
                        db_default="result",
                        default="result",
                        max_length=16,
                    ),
                ),
                ("predicate_type", models.CharField(max_length=255)),
                ("result", models.CharField(blank=True, max_length=40)),
                (
                    "payload",
                    models.TextField(
                        help_text="The whole statement as it came; of a plain result its canonical JSON."
                    ),
                ),
                (
                    "summary",
                    models.JSONField(db_default={}, default=dict, help_text="Counts, builder."),
                ),
                ("is_signed", models.BooleanField(db_default=False, default=False)),
                ("digest", models.CharField(help_text="sha256:… of the payload.", max_length=71)),
                ("added_at", models.DateTimeField()),
            ],
            options={
                "verbose_name_plural": "evidence on artifacts",
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="CheckedSignature",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("checked_at", models.DateTimeField()),
            ],
            options={
                "ordering": ["id"],
            },
        ),
        migrations.CreateModel(
            name="EvidenceKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        max_length=64,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?\\Z",
                                "Lower-case letters, digits and . _ - in between, at most 64 characters.",
                                code="invalid_key_name",
                            )
                        ],
                    ),
                ),
                (
                    "algorithm",
                    models.CharField(
                        choices=[
                            ("ed25519", "ed25519"),
                            ("ecdsa-p256", "ecdsa-p256"),
                            ("rsa-pss", "rsa-pss"),
                        ],
                        max_length=16,
                    ),
                ),
                ("public_key", models.TextField(help_text="PEM, SubjectPublicKeyInfo.")),
                (
                    "fingerprint",
                    models.CharField(help_text="sha256:… of the DER.", max_length=71, unique=True),
                ),
                ("added_at", models.DateTimeField()),
                ("revoked_at", models.DateTimeField(blank=True, null=True)),
                ("revoked_reason", models.TextField(blank=True, default="")),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        Unseal("Evidence"),
        migrations.AddField(
            model_name="evidence",
            name="is_signed",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="evidence",
            name="kind",
            field=models.CharField(
                choices=[
                    ("statement", "Statement"),
                    ("result", "Result"),
                    ("junit", "Test report"),
                    ("sarif", "Scan"),
                    ("cyclonedx", "Bill of materials, CycloneDX"),
                    ("spdx", "Bill of materials, SPDX"),
                    ("provenance", "Provenance"),
                ],
                db_default="result",
                default="result",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="evidence",
            name="summary",
            field=models.JSONField(db_default={}, default=dict, help_text="Counts, builder."),
        ),
        migrations.AlterField(
            model_name="evidence",
            name="payload",
            field=models.TextField(
                help_text="The whole statement as it came; of a plain result its canonical JSON."
            ),
        ),
        migrations.AddConstraint(
            model_name="evidence",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "kind__in",
                        [
                            "statement",
                            "result",
                            "junit",
                            "sarif",
                            "cyclonedx",
                            "spdx",
                            "provenance",
                        ],
                    )
                ),
                name="evidence_kind_is_known",
            ),
        ),
        migrations.AddField(
            model_name="artifactevidence",
            name="added_by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="artifactevidence",
            name="artifact",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="evidence",
                to="pipelines.artifact",
            ),
        ),
        migrations.AddField(
            model_name="checkedsignature",
            name="evidence",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="signatures",
                to="promotion.evidence",
            ),
        ),
        migrations.AddField(
            model_name="evidencekey",
            name="added_by",
            field=models.ForeignKey(
                help_text="Empty: the site's own key, which it added itself.",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="evidencekey",
            name="revoked_by",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="checkedsignature",
            name="key",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="signatures",
                to="promotion.evidencekey",
            ),
        ),
        migrations.AddConstraint(
            model_name="artifactevidence",
            constraint=models.UniqueConstraint(
                fields=("artifact", "predicate_type", "digest"),
                name="one_evidence_per_artifact_type_and_digest",
            ),
        ),
        migrations.AddConstraint(
            model_name="evidencekey",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("revoked_at__isnull", True), ("revoked_reason", "")),
                    models.Q(
                        ("revoked_at__isnull", False),
                        models.Q(("revoked_reason", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="a_revoked_key_says_why",
            ),
        ),
        migrations.AddConstraint(
            model_name="checkedsignature",
            constraint=models.UniqueConstraint(
                fields=("evidence", "key"), name="one_signature_per_evidence_and_key"
            ),
        ),
        SealTable("Evidence"),
        SealTable("ArtifactEvidence"),
        SealTable("CheckedSignature"),
        SealTable(
            "EvidenceKey",
            unsealed=("revoked_by_id", "revoked_reason"),
            write_once=("revoked_at",),
        ),
    ]
