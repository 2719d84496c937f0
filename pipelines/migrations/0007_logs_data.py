import zlib
from typing import Any

from django.db import migrations

TOGETHER = 100


def compress(apps: Any, schema_editor: Any) -> None:
    """Compress each piece, and number it by the characters of its attempt that stand before it."""
    chunks = apps.get_model("pipelines", "LogChunk").objects
    for job, attempt in chunks.order_by().values_list("job_id", "attempt").distinct():
        rows = chunks.filter(job_id=job, attempt=attempt)
        starts, end = {}, 0
        for pk, text in rows.order_by("sequence").values_list("pk", "text").iterator(TOGETHER):
            starts[pk] = end
            end += len(text)
        # From the last to the first: a new number is never smaller than an old one before it.
        for pk in reversed(starts):
            row = rows.get(pk=pk)
            row.sequence = starts[pk]
            row.data = zlib.compress(row.text.encode("utf-8", "replace"))
            row.characters = len(row.text)
            row.lines = row.text.count("\n")
            row.save(update_fields=["sequence", "data", "characters", "lines"])


def expand(apps: Any, schema_editor: Any) -> None:
    """Write the plain text back. The numbers stay: they are as much in order as the old ones."""
    chunks = apps.get_model("pipelines", "LogChunk").objects
    for pk in list(chunks.order_by("pk").values_list("pk", flat=True)):
        row = chunks.get(pk=pk)
        row.text = zlib.decompress(row.data).decode("utf-8")
        row.save(update_fields=["text"])


class Migration(migrations.Migration):
    dependencies = [("pipelines", "0006_logs_schema")]

    operations = [migrations.RunPython(compress, expand)]
