"""What pages show of publishing: of artifacts, which the pipelines app does not know of, and of
images."""

from django import template
from django.db.models import QuerySet
from django.template import Context

from accounts.models import User
from pipelines.models import Artifact
from promotion import rules
from promotion.models import UploadOutcome, Version

register = template.Library()


@register.simple_tag(takes_context=True)
def may_publish(context: Context) -> bool:
    """Whether the person who looks may publish versions."""
    user = context.get("user")
    return isinstance(user, User) and rules.may(user, "version.publish")


@register.simple_tag
def upload_of(artifact: Artifact) -> UploadOutcome | None:
    """What became of an artifact that a pipeline uploaded for a repository; None before that."""
    return UploadOutcome.objects.filter(artifact=artifact).first()


@register.simple_tag
def versions_of(artifact: Artifact) -> "QuerySet[Version]":
    """The versions that hold this artifact's bytes."""
    return Version.objects.with_names().filter(artifact=artifact)


@register.filter
def image_name(image: str) -> str:
    """An image's name without the digest that pins it."""
    return image.partition("@")[0]


@register.filter
def image_digest(image: str) -> str:
    return image.partition("@")[2]
