"""One's own notices: what happened that concerns oneself, newest first."""

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse

from pipelines.web.doors import PageRequest, done, page
from pipelines.web.paging import newest_first
from promotion import notices
from promotion.models import Notice


@page("GET")
def notice_list(request: PageRequest) -> HttpResponse:
    """The unread ones; with `?all=1` also those that were read."""
    with_read = request.GET.get("all") == "1"
    rows = Notice.objects.filter(recipient=request.user)
    address = reverse("promotion:notices")
    unread = notices.unread_count(request.user)
    context = {
        "page": newest_first(request, rows if with_read else rows.filter(read_at=None)),
        "with_read": with_read,
        "unread": unread,
        "tabs": [
            {"url": address, "label": "Unread", "current": not with_read, "count": unread},
            {"url": f"{address}?all=1", "label": "All", "current": with_read, "count": None},
        ],
    }
    return render(request, "promotion/notice_list.html", context)


@page("POST")
def notice_read(request: PageRequest, notice_id: int) -> HttpResponse:
    notices.mark_read(notice_id, by=request.user)
    return done(request, "The notice was marked as read.", "promotion:notices")


@page("POST")
def notices_read(request: PageRequest) -> HttpResponse:
    """All that the person saw: what came in since the page was made stays unread."""
    newest = request.POST.get("up_to", "")
    up_to = int(newest) if newest.isascii() and newest.isdigit() and len(newest) < 18 else 0
    count = notices.mark_all_read(by=request.user, up_to=up_to)
    said = "1 notice was" if count == 1 else f"{count} notices were"
    return done(request, f"{said} marked as read.", "promotion:notices")
