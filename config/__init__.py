"""How the site runs: settings, URLs, Celery and the process manager. No rule of the domain."""
