"""Every way in which pipelines refuse. Doors translate them; nothing here knows of HTTP.

Each error has a `code` that programs may rely on, a `title` that names the case, and a detail that
says what was wrong and what to do. `extra` holds the further fields of the answer.
"""

from collections.abc import Iterable
from typing import Any, ClassVar

from pipelines.flow.document import Problem


class SluiceError(Exception):
    code: ClassVar[str] = "error"
    title: ClassVar[str] = "The request was refused"

    def __init__(self, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.extra = extra


# ---- Families: doors answer by these -----------------------------------------------------------
class BadRequest(SluiceError):
    code = "bad_request"
    title = "The request cannot be understood"


class NotGenuine(SluiceError):
    """A delivery of a stranger: it does not prove the secret that it should."""

    code = "not_genuine"
    title = "The signature is not right"


class Forbidden(SluiceError):
    code = "forbidden"
    title = "You may not do this"


class NotFound(SluiceError):
    code = "not_found"
    title = "There is no such thing"


class Conflict(SluiceError):
    code = "conflict"
    title = "The present state does not allow this"


class PreconditionFailed(SluiceError):
    code = "precondition_failed"
    title = "It was changed since you read it"


class Gone(SluiceError):
    code = "gone"
    title = "This was withdrawn"


class TooLarge(SluiceError):
    code = "too_large"
    title = "This is larger than allowed"


class Invalid(SluiceError):
    """A value that cannot be accepted, with a list of located problems where there is a place."""

    code = "invalid"
    title = "A value is not valid"

    def __init__(self, detail: str, *, problems: Iterable[Problem] = (), **extra: Any) -> None:
        super().__init__(detail, **extra)
        self.problems = tuple(problems)


class Busy(SluiceError):
    """Too much of it goes on just now; `retry_after` is in how many seconds to ask again."""

    code = "busy"
    title = "There is too much to do just now"
    retry_after: ClassVar[int] = 5


class StorageUnavailable(SluiceError):
    code = "storage_full"
    title = "The bytes could not be stored"


class StorageSilent(StorageUnavailable):
    """The storage gave no answer to a reader. Of the bytes themselves that says nothing."""

    code = "storage_silent"
    title = "The storage does not answer"


class Damaged(SluiceError):
    """The storage gave other bytes than it was given. Nothing of them is handed out as whole."""

    code = "damaged"
    title = "The stored bytes are damaged"


class Unavailable(SluiceError):
    """Nothing is wrong with the request; the site lacks what it takes. An operator can mend it."""

    code = "unavailable"
    title = "The site cannot do this at present"


class Unreachable(SluiceError):
    """Another machine gave no answer that can be used: none at all, too late, or too long."""

    code = "unreachable"
    title = "Another machine did not answer as it should"


# ---- Cases -------------------------------------------------------------------------------------
class UnknownField(BadRequest):
    code = "unknown_field"
    title = "The request has a field that is not known here"


class InvalidFilename(BadRequest):
    code = "invalid_filename"
    title = "The file name cannot be used"


class DigestMismatch(BadRequest):
    code = "digest_mismatch"
    title = "The bytes are not those that were announced"


class TruncatedUpload(BadRequest):
    code = "truncated_upload"
    title = "The upload ended before its end"


class TooManyFollowers(Busy):
    code = "too_many_followers"
    title = "Too many logs are being followed"


class WrongState(Conflict):
    code = "wrong_state"
    title = "The state does not allow this"


class TooManyRuns(Conflict):
    """`current` lists the numbers of the runs that are at work."""

    code = "too_many_runs"
    title = "As many runs are at work as the pipeline allows"


class TooManyUploads(Conflict):
    """`open` lists the caller's open uploads, each with its pipeline, run and number."""

    code = "too_many_uploads"
    title = "As much is being uploaded as one person may"


class AlreadyDecided(Conflict):
    code = "already_decided"
    title = "You have decided on this already"


class NameTaken(Conflict):
    code = "name_taken"
    title = "The name is taken"


class PartDiffers(Conflict):
    code = "part_differs"
    title = "Another part of this number is there already"


class Incomplete(Conflict):
    """`missing` lists the first parts that have not come in, as file and part."""

    code = "incomplete"
    title = "Parts are missing"


class WouldBreak(Conflict):
    """`breaks` lists the pipelines, and the problems that each does not have now but would have."""

    code = "would_break"
    title = "Other pipelines would break"


class UnresolvedReference(Invalid):
    code = "unresolved_reference"
    title = "The reference leads nowhere"


class IdempotencyKeyBusy(Conflict):
    code = "idempotency_key_busy"
    title = "The first request with this key is still running"


class IdempotencyKeyReused(Invalid):
    code = "idempotency_key_reused"
    title = "The key was used for another request"


class LinkExpired(Forbidden):
    code = "link_expired"
    title = "The link has expired"


class LinkNotGenuine(Forbidden):
    code = "link_not_genuine"
    title = "The link was not made here"


class BytesGone(Gone):
    """Retention removed the bytes; their names and digests stay on record."""

    code = "bytes_gone"
    title = "The bytes are no longer kept"


class Sealed(Conflict):
    """History and sealed objects never change; asking for it is a fault of the caller's code."""

    code = "sealed"
    title = "This can no longer be changed"
