"""What the registry said of a version's image: once, when it was published, and since."""

from django.db import models

from pipelines.seals import Sealed
from promotion.models.version import Version


class ImageDetails(Sealed):
    """What an image consists of, as its own manifests say: its digest vouches for all of it."""

    version = models.OneToOneField(Version, on_delete=models.PROTECT, related_name="image_details")
    details = models.TextField(help_text="Canonical JSON: platforms, and the layers of each.")
    digest = models.CharField(max_length=71, help_text="sha256:… of the details.")
    at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "image details"

    def __str__(self) -> str:
        return f"{self.version} {self.digest}"


class LookState(models.TextChoices):
    """What a look into the registry found. Each look says anew; none of them is final."""

    SAME = "same", "The tag names this image"
    MOVED = "moved", "The tag names another image now"
    UNTAGGED = "untagged", "The tag is gone"
    GONE = "gone", "The image is gone"
    UNKNOWN = "unknown", "The registry could not be asked"


class ImageLook(models.Model):
    """The last look at a version's image in the registry it came from. Written by images.py."""

    version = models.OneToOneField(Version, on_delete=models.PROTECT, related_name="image_look")
    state = models.CharField(max_length=10, choices=LookState)
    tag_digest = models.CharField(
        max_length=71, blank=True, help_text="What the tag named; empty where there was no tag."
    )
    problem = models.TextField(blank=True, help_text="Why the registry could not be asked.")
    referrers = models.JSONField(
        default=list, help_text="Signatures and attestations that refer to the image."
    )
    looked_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=LookState.values), name="look_state_is_known"
            )
        ]
        indexes = [
            # The looks that are due, the oldest first.
            models.Index(fields=["looked_at"], name="looks_oldest_first"),
        ]

    def __str__(self) -> str:
        return f"{self.version}: {self.state}"

    @property
    def has_drifted(self) -> bool:
        """Whether the registry no longer gives under the version's name what was published."""
        return self.state in {LookState.MOVED, LookState.UNTAGGED, LookState.GONE}
