"""How the site runs: settings, URLs, Celery and the process manager. No rule of the domain."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
