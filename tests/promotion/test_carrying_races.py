"""Two that carry the same bytes at the very same time: both arrive, and nothing is half there."""

from collections.abc import Iterator
from functools import partial

import pytest

from promotion import environments, promoting
from promotion.models import Placement, Promotion, PromotionState
from tests.cast import Site, make_site
from tests.parallel import at_once
from tests.promotion.targeted import Elsewhere, elsewhere, give_bucket, login_of, reachable
from tests.promotion.targeted import publish_image as publish
from tests.promotion.verifying import verify

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def there() -> Iterator[Elsewhere]:
    with elsewhere() as made:
        yield made


@pytest.fixture
def site(transactional_db: None) -> Iterator[Site]:
    with reachable():
        yield make_site()


def approved(site: Site, *versions: object) -> Promotion:
    promotion = site.request(site.staging, *versions)  # type: ignore[arg-type]
    promoting.approve(promotion, by=site.cast.ben, plan=promotion.plan_digest)
    return promotion


def test_promotions_that_carry_the_same_bytes_at_once_all_arrive(
    site: Site, there: Elsewhere
) -> None:
    bucket = give_bucket(site, site.staging, there)
    same = {"app.bin": bytes(range(256)) * 40_000}
    names = [f"app{number}" for number in range(4)]
    promotions = [approved(site, site.publish("1.0.0", package=name, files=same)) for name in names]
    at_once([partial(promoting.execute, promotion.pk) for promotion in promotions])
    states = Promotion.objects.values_list("state", "reason")
    assert set(states) == {(PromotionState.COMPLETED.value, "")}
    assert len(bucket.objects()) == 1
    assert Placement.objects.exclude(storage="").count() == 4
    assert verify("--scrub")[0] == 0


def test_promotions_that_carry_the_same_image_at_once_both_arrive(
    site: Site, there: Elsewhere
) -> None:
    login = login_of(site, there.guarded)
    environments.set_target(
        site.staging,
        by=site.cast.admin,
        registry=f"{there.guarded}/races",
        registry_connection=login,
    )
    versions = [publish(site, there, name, b"one and the same") for name in ("1.0.0", "1.0.1")]
    # Of one package, so the later one goes stale: what it replaces is another version by then.
    promotions = [approved(site, version) for version in versions]
    at_once([partial(promoting.execute, promotion.pk) for promotion in promotions])
    for promotion in promotions:
        # Whoever waited its turn is nudged once the other one has ended.
        promoting.execute(promotion.pk)
    states = sorted(Promotion.objects.values_list("state", flat=True))
    assert states == [PromotionState.COMPLETED, PromotionState.STALE]
    assert Placement.objects.count() == 1
    assert verify()[0] == 0
