"""Archives looked into without being unpacked: what a listing shows, and one member's beginning.

Everything here is pure: it reads a seekable file forwards, knows of no database, and whatever the
bytes are it ends within its bounds, with an answer or with a refusal (`Invalid`).
"""

from pipelines.archives.kinds import HEAD, Kind, kind_of, may_end_in_zip
from pipelines.archives.looking import Archive, form_of, look, members_of_tar, read_member
from pipelines.archives.nouns import (
    BOUNDS,
    LEADING_OUT,
    Bounds,
    Danger,
    Listing,
    Member,
    MemberKind,
)

__all__ = [
    "BOUNDS",
    "HEAD",
    "LEADING_OUT",
    "Archive",
    "Bounds",
    "Danger",
    "Kind",
    "Listing",
    "Member",
    "MemberKind",
    "form_of",
    "kind_of",
    "look",
    "may_end_in_zip",
    "members_of_tar",
    "read_member",
]
