from django.db import migrations

from pipelines.seals import SealTable


class Migration(migrations.Migration):
    dependencies = [("pipelines", "0001_initial")]

    operations = [
        SealTable("Revision"),
        SealTable("Blob"),
        SealTable("Artifact"),
        SealTable("ArtifactFile"),
    ]
