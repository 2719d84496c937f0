from django.db import migrations, models


class Migration(migrations.Migration):
    """Room for compressed text beside the plain text, which 0007 moves and 0008 takes away."""

    dependencies = [("pipelines", "0005_push_hooks")]

    operations = [
        migrations.AddField(
            model_name="logchunk",
            name="data",
            field=models.BinaryField(
                default=b"", help_text="The text in UTF-8, compressed with zlib."
            ),
        ),
        migrations.AddField(
            model_name="logchunk",
            name="characters",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="logchunk",
            name="lines",
            field=models.PositiveIntegerField(
                default=0, help_text="How many lines end in this piece."
            ),
        ),
    ]
