import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Passkey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                ("credential_id", models.CharField(max_length=1364, unique=True)),
                ("public_key", models.TextField(help_text="A COSE key.")),
                (
                    "transports",
                    models.JSONField(default=list, help_text="How a browser gets to the device."),
                ),
                ("created_at", models.DateTimeField()),
                (
                    "sign_count",
                    models.BigIntegerField(
                        help_text="What the device last said that it has signed; 0 where it does not count."
                    ),
                ),
                ("last_used_at", models.DateTimeField(blank=True, null=True)),
                ("removed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="passkeys",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"ordering": ["-id"]},
        ),
    ]
