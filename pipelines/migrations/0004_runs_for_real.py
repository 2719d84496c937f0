import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from pipelines.seals import SealTable, Unseal


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("pipelines", "0003_upstreams"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        Unseal("Artifact"),
        migrations.CreateModel(
            name="GateDecision",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "gate",
                    models.PositiveIntegerField(help_text="Which of the job's gates, from 1."),
                ),
                ("passed", models.BooleanField()),
                ("comment", models.CharField(blank=True, max_length=500)),
                ("at", models.DateTimeField()),
            ],
            options={
                "ordering": ["at", "id"],
            },
        ),
        migrations.CreateModel(
            name="Runner",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100, unique=True)),
                (
                    "groups",
                    models.JSONField(default=list, help_text="What it serves; empty: every group."),
                ),
                ("builder", models.CharField(blank=True, max_length=200)),
                (
                    "engine",
                    models.CharField(
                        blank=True, help_text="What runs container jobs.", max_length=200
                    ),
                ),
                (
                    "is_isolating",
                    models.BooleanField(
                        default=False,
                        help_text="Whether each job gets an operating system user of its own.",
                    ),
                ),
                ("started_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.CreateModel(
            name="ServiceConnection",
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
                                "^[a-z0-9][a-z0-9._-]{0,63}\\Z",
                                "Starts with a-z or 0-9, then also . _ - and at most 64 characters.",
                                code="invalid_slug",
                            )
                        ],
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("git", "Git server"),
                            ("registry", "Image registry"),
                            ("kubernetes", "Kubernetes cluster"),
                            ("ssh", "Machines over SSH"),
                            ("s3", "S3 storage"),
                        ],
                        max_length=20,
                    ),
                ),
                ("created_at", models.DateTimeField()),
                ("is_shared_with_all", models.BooleanField(default=False)),
                ("description", models.CharField(blank=True, max_length=200)),
                (
                    "host",
                    models.CharField(
                        blank=True,
                        help_text="The only host, and port, that gets the secret.",
                        max_length=255,
                    ),
                ),
                (
                    "settings",
                    models.JSONField(
                        default=dict, help_text="What is no secret, like a user name."
                    ),
                ),
                ("sealed", models.TextField(help_text="The secrets, encrypted; never shown.")),
                ("changed_at", models.DateTimeField()),
                ("last_used_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "ordering": ["name"],
            },
        ),
        migrations.RemoveConstraint(
            model_name="artifact",
            name="one_artifact_per_step_and_name",
        ),
        migrations.RemoveConstraint(
            model_name="artifact",
            name="artifact_is_files_or_an_image",
        ),
        migrations.AddField(
            model_name="artifact",
            name="attempt",
            field=models.PositiveIntegerField(default=1, help_text="Of the job that made it."),
        ),
        migrations.AddField(
            model_name="artifact",
            name="repository",
            field=models.CharField(
                blank=True,
                help_text="Where it is published once its run has succeeded.",
                max_length=64,
            ),
        ),
        migrations.AddField(
            model_name="artifact",
            name="version",
            field=models.CharField(blank=True, help_text="As which version.", max_length=128),
        ),
        migrations.AddField(
            model_name="job",
            name="component",
            field=models.CharField(blank=True, max_length=64),
        ),
        migrations.AddField(
            model_name="job",
            name="container",
            field=models.CharField(
                blank=True, help_text="The image in which its programs run.", max_length=500
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="deaths",
            field=models.PositiveIntegerField(
                default=0, help_text="How many workers died over it since somebody let it begin."
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="gate",
            field=models.PositiveIntegerField(
                default=0, help_text="How often it has waited for people."
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="group",
            field=models.CharField(
                blank=True, help_text="Which runners may take it; empty: any.", max_length=200
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="is_passed",
            field=models.BooleanField(
                default=False, help_text="Whether they passed its last gate."
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="log_since",
            field=models.PositiveIntegerField(
                default=1, help_text="The first attempt whose log still counts."
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="runner",
            field=models.CharField(
                blank=True, help_text="Who took the last attempt.", max_length=100
            ),
        ),
        migrations.AddField(
            model_name="job",
            name="waits_for",
            field=models.TextField(blank=True, help_text="Why it does not go on by itself."),
        ),
        migrations.AddField(
            model_name="run",
            name="again_of",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="again",
                to="pipelines.run",
            ),
        ),
        migrations.AddField(
            model_name="run",
            name="is_to_follow",
            field=models.BooleanField(
                default=False,
                help_text="It succeeded, and what its success starts has not been started.",
            ),
        ),
        migrations.AddField(
            model_name="run",
            name="once",
            field=models.CharField(
                blank=True,
                help_text="What may start one run of the pipeline and no more.",
                max_length=200,
            ),
        ),
        migrations.AlterField(
            model_name="artifact",
            name="type",
            field=models.CharField(
                choices=[
                    ("flowPublic", "Files"),
                    ("dockerImage", "Container image"),
                    ("packages", "Files for a repository"),
                ],
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="run",
            name="trigger",
            field=models.CharField(
                choices=[
                    ("manual", "Started by hand"),
                    ("api", "Started over the API"),
                    ("external", "Reported by another CI system"),
                    ("pipeline", "Another pipeline succeeded"),
                    ("push", "Something was pushed"),
                    ("again", "Run again on the same inputs"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("is_to_follow", True)), fields=["id"], name="runs_to_follow"
            ),
        ),
        migrations.AddConstraint(
            model_name="artifact",
            constraint=models.UniqueConstraint(
                fields=("run", "stage", "job", "step", "attempt", "name"),
                name="one_artifact_per_step_attempt_and_name",
            ),
        ),
        migrations.AddConstraint(
            model_name="artifact",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("bundle__isnull", False), ("type__in", ["flowPublic", "packages"])),
                    models.Q(
                        ("bundle__isnull", True),
                        ("type", "dockerImage"),
                        models.Q(("image", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="artifact_is_files_or_an_image",
            ),
        ),
        migrations.AddConstraint(
            model_name="artifact",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("type", "packages"),
                        models.Q(("repository", ""), ("version", ""), _negated=True),
                    ),
                    models.Q(("repository", ""), ("version", "")),
                    _connector="OR",
                ),
                name="only_files_for_a_repository_name_one",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.UniqueConstraint(
                condition=models.Q(("once", ""), _negated=True),
                fields=("pipeline", "once"),
                name="one_run_per_pipeline_and_cause",
            ),
        ),
        migrations.AddField(
            model_name="gatedecision",
            name="by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="gatedecision",
            name="job",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="decisions",
                to="pipelines.job",
            ),
        ),
        migrations.AddField(
            model_name="serviceconnection",
            name="created_by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="serviceconnection",
            name="shared_with",
            field=models.ManyToManyField(
                blank=True, related_name="shared_connections", to="auth.group"
            ),
        ),
        migrations.AddField(
            model_name="serviceconnection",
            name="team",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="connections",
                to="auth.group",
            ),
        ),
        migrations.AddConstraint(
            model_name="gatedecision",
            constraint=models.UniqueConstraint(
                fields=("job", "gate", "by"), name="one_decision_per_job_gate_and_person"
            ),
        ),
        migrations.AddConstraint(
            model_name="serviceconnection",
            constraint=models.CheckConstraint(
                condition=models.Q(("kind__in", ["git", "registry", "kubernetes", "ssh", "s3"])),
                name="connection_kind_is_known",
            ),
        ),
        migrations.AddIndex(
            model_name="artifact",
            index=models.Index(
                condition=models.Q(("type", "packages")),
                fields=["run"],
                name="artifacts_for_repositories",
            ),
        ),
        SealTable("Artifact"),
        SealTable("GateDecision"),
    ]
