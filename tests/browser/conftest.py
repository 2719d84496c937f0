"""A real Chromium on a real server, and whatever it complains about."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from accounts.models import User
from tests.parts import browser

PATIENCE = 20_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = browser.find()
    assert path, "these tests need Chromium: python -m tests.parts.browser gets one"
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright keeps an event loop in this thread, in which Django would refuse to work.
        patch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        opened = playwright.chromium.launch(executable_path=path, args=browser.ARGUMENTS)
        yield opened
        opened.close()


@dataclass
class Window:
    """A browser window of one person, and what its console said of errors."""

    context: BrowserContext
    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def go(self, path: str) -> Page:
        # A page that follows what moves may load itself anew in the same moment.
        answer = self.page.goto(f"{self.url}{path}") or self.page.reload()
        assert answer is not None
        assert answer.status == 200, f"{path}: {answer.status}"
        return self.page

    def sign_in_as(self, user: User) -> None:
        """Without the form: by the session that Django's own client makes."""
        client = Client()
        client.force_login(user)
        value = client.cookies["sessionid"].value
        self.context.add_cookies([{"name": "sessionid", "value": value, "url": self.url}])


class Windows:
    def __init__(self, chromium: Browser, url: str) -> None:
        self._chromium = chromium
        self._url = url
        self.opened: list[Window] = []

    def open(self, **options: Any) -> Window:
        context = self._chromium.new_context(**options)
        context.set_default_timeout(PATIENCE)
        window = Window(context, context.new_page(), self._url)

        def note(message: ConsoleMessage) -> None:
            if message.type == "error":
                window.complaints.append(f"{message.text} ({message.location.get('url')})")

        window.page.on("console", note)
        window.page.on("pageerror", lambda error: window.complaints.append(str(error)))
        self.opened.append(window)
        return window


@pytest.fixture
def windows(chromium: Browser, live_server: Any) -> Iterator[Windows]:
    """Windows onto the served site. None may complain: no script error, nothing the CSP refuses."""
    made = Windows(chromium, live_server.url)
    yield made
    for window in made.opened:
        window.context.close()
    assert [complaint for window in made.opened for complaint in window.complaints] == []
