from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "config"
    verbose_name = "Site"

    def ready(self) -> None:
        # Tasks and nudges find this Celery application. Not in __init__.py: the supervisor, which
        # stays for as long as the site does, needs none of it in its memory.
        from config import celery  # noqa: F401
