"""Calls on one's own notices."""

from typing import TypedDict

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.authentication import caller
from pipelines.api.base import ApiView, NoBody, page, query, read
from pipelines.api.schema import operation, page_of, shape
from pipelines.canonical import timestamp
from pipelines.errors import Invalid
from pipelines.links import absolute
from promotion import notices
from promotion.models import Notice
from promotion.rules import require

TAG = "Notices"


class NoticeAnswer(TypedDict):
    """`asks`: whether one's own decision is waited for. `url` is the page to go to."""

    id: int
    type: str
    subject: str
    url: str
    asks: bool
    created_at: str
    read_at: str | None


class ReadAnswer(TypedDict):
    read: int


def notice_answer(notice: Notice) -> NoticeAnswer:
    return {
        "id": notice.pk,
        "type": notice.type,
        "subject": notice.subject,
        "url": absolute(notice.path),
        "asks": notice.asks,
        "created_at": timestamp(notice.created_at),
        "read_at": timestamp(notice.read_at) if notice.read_at else None,
    }


class NoticesView(ApiView):
    @operation(
        "One's own notices, newest first",
        {200: page_of(NoticeAnswer)},
        query={"unread": "true: only those that were not read; false: only those that were."},
        tag=TAG,
        is_list=True,
    )
    def get(self, request: Request) -> Response:
        wanted = query(request, "unread").get("unread")
        rows = Notice.objects.filter(recipient=caller(request))
        if wanted not in {None, "true", "false"}:
            raise Invalid("unread is true or false.")
        if wanted is not None:
            rows = rows.filter(read_at__isnull=wanted == "true")
        return page(self, request, rows, notice_answer)


class ReadAllView(ApiView):
    # By its path alone it would be called what marking a single one is called.
    @extend_schema(operation_id="notices_read_all_create")
    @operation(
        "Mark all of one's own notices as read",
        {200: shape(ReadAnswer)},
        refusals=(413, 415),
        tag=TAG,
    )
    def post(self, request: Request) -> Response:
        read(NoBody, request)
        require(caller(request), "view")
        return Response({"read": notices.mark_all_read(by=caller(request))})


class ReadView(ApiView):
    @operation(
        "Mark one of one's own notices as read",
        {200: shape(NoticeAnswer)},
        refusals=(404, 413, 415),
        tag=TAG,
    )
    def post(self, request: Request, notice: int) -> Response:
        read(NoBody, request)
        require(caller(request), "view")
        return Response(notice_answer(notices.mark_read(notice, by=caller(request))))
