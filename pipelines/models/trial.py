"""Whether another machine answered when somebody last tried it out."""

from django.conf import settings
from django.db import models


class Trial(models.Model):
    """The last time that a registry or bucket was tried out. Written by whoever tries, in full."""

    about = models.CharField(
        max_length=100, unique=True, help_text="What names the place: “repository images”."
    )
    place = models.CharField(
        max_length=700, help_text="What was asked then; another place was not tried out."
    )
    worked = models.BooleanField()
    said = models.TextField(help_text="What came back, in sentences.")
    at = models.DateTimeField()
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")

    def __str__(self) -> str:
        return self.about
