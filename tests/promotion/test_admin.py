"""The admin: everything can be found, nothing is edited, and its two actions call the verbs."""

import pytest
from django.contrib import admin
from django.db import models
from django.test import Client
from django.urls import reverse

from accounts.models import User
from promotion.models import Promotion, PromotionState, Version
from tests.cast import Site, make_artifact

pytestmark = pytest.mark.django_db

OURS = [
    model
    for model in admin.site._registry
    if model._meta.app_label in {"accounts", "pipelines", "promotion"}
]
WRITTEN_HERE = {User}


def signed_in(user: User) -> Client:
    """The site of a staff member who may see everything in the admin."""
    user.is_staff = user.is_superuser = True
    user.save()
    client = Client()
    client.force_login(user)
    return client


def address(model: type[models.Model], page: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_every_model_is_listed_searched_and_read(model: type[models.Model], site: Site) -> None:
    site.promote(site.staging, site.publish("1.0.0"))
    client = signed_in(site.cast.admin)
    assert client.get(address(model, "changelist")).status_code == 200
    found = client.get(address(model, "changelist"), {"q": "1"})
    assert found.status_code == 200
    row = model._default_manager.first()
    if row is not None:
        assert client.get(address(model, "change", row.pk)).status_code == 200


@pytest.mark.parametrize(
    "model", [each for each in OURS if each not in WRITTEN_HERE], ids=lambda model: model.__name__
)
def test_what_verbs_write_cannot_be_added_here(model: type[models.Model], site: Site) -> None:
    client = signed_in(site.cast.admin)
    assert client.get(address(model, "add")).status_code == 403


def test_history_can_be_neither_changed_nor_deleted_here(site: Site) -> None:
    version = site.publish("1.0.0")
    client = signed_in(site.cast.admin)
    changed = client.post(address(Version, "change", version.pk), {"name": "2.0.0"})
    deleted = client.post(address(Version, "delete", version.pk), {"post": "yes"})
    assert (changed.status_code, deleted.status_code) == (403, 403)
    version.refresh_from_db()
    assert version.name == "1.0.0"


def approve(client: Client, promotion: Promotion) -> list[str]:
    answer = client.post(
        address(Promotion, "changelist"),
        {"action": "approve", "_selected_action": promotion.pk},
        follow=True,
    )
    return [str(message) for message in answer.context["messages"]]


def test_a_release_manager_approves_here_with_the_same_verb(site: Site) -> None:
    promotion = site.request(site.staging, site.publish("1.0.0"))
    assert approve(signed_in(site.cast.ben), promotion) == [f"{promotion}: approved."]
    promotion.refresh_from_db()
    assert promotion.state == PromotionState.APPROVED


def test_whoever_may_not_approve_may_not_here_either(site: Site) -> None:
    promotion = site.request(site.staging, site.publish("1.0.0"))
    (operator,) = approve(signed_in(site.cast.admin), promotion)
    (requester,) = approve(signed_in(site.cast.ada), promotion)
    assert "may not approve" in operator
    assert "requested promotion" in requester
    promotion.refresh_from_db()
    assert promotion.state == PromotionState.REQUESTED


def test_a_developer_publishes_here_with_the_same_verb(site: Site) -> None:
    artifact = make_artifact(site.cast.ada, site.pipeline)
    client = signed_in(site.cast.ada)
    asked = {"action": "publish", "_selected_action": artifact.pk}
    listing = reverse("admin:pipelines_artifact_changelist")
    refused = client.post(listing, asked, follow=True)
    assert "Choose one artifact" in str(next(iter(refused.context["messages"])))
    named = {"repository": site.repository.pk, "package": "app", "version": "3.0.0"}
    done = client.post(listing, {**asked, **named}, follow=True)
    assert str(next(iter(done.context["messages"]))).endswith(": published.")
    version = Version.objects.get(name="3.0.0")
    assert (version.artifact_id, version.published_by) == (artifact.pk, site.cast.ada)
