from django.db import migrations, models

from pipelines.seals import SealTable, Unseal


class Migration(migrations.Migration):
    dependencies = [("promotion", "0006_retention")]

    operations = [
        Unseal("Approval"),
        migrations.AddField(
            model_name="approval",
            name="second_factor",
            field=models.JSONField(
                help_text="The passkey's signature of this approval (assertions.py), if one was given.",
                null=True,
            ),
        ),
        SealTable("Approval"),
    ]
