"""Sluice as a user: in whose name it requests what a policy lets it promote by itself."""

from accounts.models import User
from pipelines.errors import WrongState

NAME = "sluice"


def sluice() -> User:
    """The machine user `sluice`, made when it is first needed.

    It is not active: no password, no token and no admin's slip of the hand signs it in. A person
    who is called the same is never mistaken for it.
    """
    made = User(username=NAME, is_machine=True, is_active=False)
    made.set_unusable_password()
    # Two workers may need it first at once.
    User.objects.bulk_create([made], ignore_conflicts=True)
    found = User.objects.get(username=NAME)
    if not is_sluice(found):
        raise WrongState(
            f"The user “{NAME}” is somebody's own. Rename it, or make it an inactive machine "
            "without a password, so that Sluice can act in its name."
        )
    return found


def is_sluice(user: User) -> bool:
    """Whether `user` is Sluice itself, which nobody can sign in as."""
    is_locked = user.is_machine and not user.is_active and not user.has_usable_password()
    return user.username == NAME and is_locked
