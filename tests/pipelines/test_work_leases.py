"""Work of the whole site that only one does at a time."""

from datetime import timedelta

import pytest
from django.utils import timezone

from pipelines.leases import leased
from pipelines.models import Lease
from tests.parallel import outcomes

HOUR = timedelta(hours=1)


def is_free(name: str = "work") -> bool:
    with leased(name, HOUR) as has_it:
        return has_it


@pytest.mark.django_db
def test_one_has_it_and_the_others_go_on_without() -> None:
    with leased("work", HOUR) as has_it:
        assert has_it
        assert not is_free()
        assert not is_free(), "and to have been refused gives nothing back"
        assert is_free("other work")
    assert is_free()


@pytest.mark.django_db
def test_it_is_given_back_by_whoever_breaks_down() -> None:
    with pytest.raises(ZeroDivisionError), leased("work", HOUR):
        raise ZeroDivisionError
    assert is_free()


@pytest.mark.django_db
def test_it_runs_out_with_whoever_died_and_is_not_given_back_by_them_later() -> None:
    with leased("work", HOUR):
        Lease.objects.update(until=timezone.now() - HOUR)
        with leased("work", HOUR) as has_it:
            assert has_it
            until = Lease.objects.get().until
        Lease.objects.update(until=until)
    assert Lease.objects.get().until == until


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_has_it() -> None:
    taken = []

    def take() -> bool:
        # Not given back, so that the others find it taken however late they come.
        taken.append(mine := leased("work", HOUR))
        return mine.__enter__()

    assert sum(outcomes([take] * 20)) == 1
