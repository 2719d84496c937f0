"""Every address of the site. Each app's doors name their own."""

from django.contrib import admin
from django.contrib.admin.views.decorators import staff_member_required
from django.contrib.auth import views as auth
from django.urls import include, path
from django.views.generic import TemplateView

from config import health

urlpatterns = [
    # People
    path("login/", auth.LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("account/", include("accounts.urls")),
    path("admin/", admin.site.urls),
    # Pages
    path("", include("promotion.web.urls")),
    path("", include("pipelines.web.urls")),
    path(
        "style/",
        staff_member_required(TemplateView.as_view(template_name="style_guide.html")),
        name="style_guide",
    ),
    # Machines
    path("api/", include("config.api_urls")),
    path("healthz", health.alive, name="healthz"),
    path("readyz", health.ready, name="readyz"),
]

handler404 = "config.health.not_found"
handler500 = "config.health.broken"
