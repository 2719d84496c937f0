"""The API: the calls of both apps under one namespace, their schema, and a page to try them."""

from django.contrib.auth.decorators import login_required
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

from pipelines.api.urls import urlpatterns as pipelines
from promotion.api.urls import urlpatterns as promotion

urlpatterns = [
    path("v1/", include(([*pipelines, *promotion], "api"))),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path(
        "",
        # A person who is not signed in is sent to the sign-in page, not answered 401.
        login_required(
            SpectacularSwaggerSplitView.as_view(url_name="schema", template_name="api.html")
        ),
        name="schema_page",
    ),
]
