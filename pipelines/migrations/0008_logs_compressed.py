from django.db import migrations, models


class Migration(migrations.Migration):
    """The plain text goes; going back brings an empty one, which 0007 fills again."""

    dependencies = [("pipelines", "0007_logs_data")]

    operations = [
        migrations.AlterField(
            model_name="logchunk", name="text", field=models.TextField(default="")
        ),
        migrations.RemoveField(model_name="logchunk", name="text"),
        migrations.AlterField(
            model_name="logchunk",
            name="data",
            field=models.BinaryField(help_text="The text in UTF-8, compressed with zlib."),
        ),
        migrations.AlterField(
            model_name="logchunk", name="characters", field=models.PositiveIntegerField()
        ),
        migrations.AlterField(
            model_name="logchunk",
            name="lines",
            field=models.PositiveIntegerField(help_text="How many lines end in this piece."),
        ),
    ]
