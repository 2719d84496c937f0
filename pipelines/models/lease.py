"""Who does just now what only one may do at a time."""

from django.db import models


class Lease(models.Model):
    """A piece of work of the whole site, and until when whoever took it has it to itself."""

    # What was asked for. Never changes.
    name = models.CharField(max_length=64, unique=True)

    # What has happened. Written only by leases.py.
    until = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
