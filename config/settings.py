"""All settings of a Sluice site, read from the environment (docs/settings.md lists them)."""

import hashlib
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import dj_database_url
import django_stubs_ext
from django.core.exceptions import ImproperlyConfigured

from config import env, storages

# Lets Django's generic classes be written with their type, like ModelAdmin[Version].
django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent

# Where Sluice keeps what it must not lose: the embedded database, the bytes and its own keys.
DATA_DIR = env.path("SLUICE_DATA", BASE_DIR / "var")
for folder in (DATA_DIR, DATA_DIR / "broker", DATA_DIR / "blobs"):
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)

DEBUG = env.flag("SLUICE_DEBUG", default=False)
PORT = env.integer("PORT", 8000, least=1, most=65_535)
# The address that people and pipelines use. Links in artifact descriptors start with it.
SITE_URL = env.address("SLUICE_URL", f"http://127.0.0.1:{PORT}")

# ---- Database -----------------------------------------------------------------------------------
DATABASE_URL = env.secret("SLUICE_DATABASE_URL") or f"sqlite:///{DATA_DIR / 'sluice.sqlite3'}"
DATABASES: dict[str, Any] = {"default": dj_database_url.parse(DATABASE_URL)}
DATABASE = DATABASES["default"]
if DATABASE["ENGINE"] == "django.db.backends.sqlite3":
    EMBEDDED = True
    DATABASE["OPTIONS"] = {
        # A transaction that means to write takes its lock at once; upgrading later would fail.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # recursive_triggers lets the seals see the deletion hidden in INSERT OR REPLACE.
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA recursive_triggers=ON;"
        ),
    }
elif DATABASE["ENGINE"] == "django.db.backends.postgresql":
    EMBEDDED = False
    DATABASE["CONN_MAX_AGE"] = env.integer("SLUICE_DATABASE_MAX_AGE", 600)
    DATABASE["CONN_HEALTH_CHECKS"] = True
else:
    raise ImproperlyConfigured(
        "SLUICE_DATABASE_URL must start with sqlite:/// or postgresql://, "
        f"not with {DATABASE_URL.split(':', 1)[0]!r}."
    )
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# ---- Secrets ------------------------------------------------------------------------------------
_secret_key = env.secret("SLUICE_SECRET_KEY")
if _secret_key is None and not EMBEDDED:
    raise ImproperlyConfigured(
        "SLUICE_SECRET_KEY is not set. With PostgreSQL every host needs the same secret: "
        "set SLUICE_SECRET_KEY or SLUICE_SECRET_KEY_FILE."
    )
SECRET_KEY = _secret_key or env.kept_secret(DATA_DIR / "secret.key")
# Encrypt the secrets of service connections: the first key encrypts, each of them decrypts. With
# PostgreSQL every host needs the same ones; without any, no connection can be made or used.
CONNECTION_KEYS = env.fernet_keys("SLUICE_CONNECTION_KEYS") or (
    (env.kept_fernet_key(DATA_DIR / "connections.key"),) if EMBEDDED else ()
)
# The Ed25519 key (PEM) that signs selection receipts. Made in DATA_DIR when none is given.
SIGNING_KEY_PEM = env.secret("SLUICE_SIGNING_KEY")

# ---- Applications -------------------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "knox",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "csp",
    "config",
    "accounts",
    "pipelines",
    "promotion",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "promotion.web.context.waiting",
                "promotion.web.context.noticed",
            ]
        },
    }
]

# ---- Who may come in ----------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "promotion:board"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
KNOX_TOKEN_MODEL = "accounts.Token"  # noqa: S105  # a model's name
# Knox's own migrations would make a table for the token model that ours stands in for.
MIGRATION_MODULES = {"knox": None}
REST_KNOX = {
    "TOKEN_PREFIX": "sluice_",
    "TOKEN_TTL": timedelta(days=env.integer("SLUICE_TOKEN_DAYS", 365, least=1, most=36_500)),
    "AUTH_HEADER_PREFIX": "Bearer",
    "TOKEN_MODEL": KNOX_TOKEN_MODEL,
}

# ---- The web ------------------------------------------------------------------------------------
_site_host = SITE_URL.split("://", 1)[-1].split("/", 1)[0].rsplit(":", 1)[0]
ALLOWED_HOSTS = list(env.items("SLUICE_HOSTS", (_site_host, "127.0.0.1", "localhost", "[::1]")))
SECURE = SITE_URL.startswith("https://")
CSRF_TRUSTED_ORIGINS = [SITE_URL]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SESSION_COOKIE_HTTPONLY = True
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if env.flag("SLUICE_BEHIND_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        # Swagger's page and our form controls draw their small icons from data: URLs.
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True
WHITENOISE_MAX_AGE = 0 if DEBUG else 300
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

# ---- The API ------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "accounts.authentication.BearerAuthentication",
        "accounts.authentication.BrowserAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["pipelines.api.parsers.JsonParser"],
    # `?format=` would be a second way to say `Accept`, and hide a misspelt parameter.
    "URL_FORMAT_OVERRIDE": None,
    "DEFAULT_SCHEMA_CLASS": "pipelines.api.schema.SluiceSchema",
    "EXCEPTION_HANDLER": "pipelines.api.problems.answer",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Sluice",
    "DESCRIPTION": "Runs, artifacts, versions, promotions, selections and their history.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.IsAuthenticated"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "ExecutionState": "pipelines.models.run.ExecutionState",
        "PromotionState": "promotion.models.promotion.PromotionState",
        "VersionState": "promotion.models.version.VersionState",
    },
}

# ---- Bytes --------------------------------------------------------------------------------------
STORAGES: dict[str, Any] = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
_blobs = storages.storage("SLUICE_BLOBS_URL", "SLUICE_S3", DATA_DIR / "blobs")
assert _blobs is not None
STORAGES["blobs"] = _blobs
# A second copy of all bytes, which is read where the first fails, and repairs it.
if _copy := storages.storage("SLUICE_BLOBS_COPY_URL", "SLUICE_S3_COPY", None):
    if _copy["OPTIONS"] == _blobs["OPTIONS"]:
        raise ImproperlyConfigured(
            "SLUICE_BLOBS_COPY_URL is where SLUICE_BLOBS_URL is: that would be no second copy."
        )
    STORAGES["blobs-copy"] = _copy
MEDIA_ROOT = DATA_DIR / "media"
# Uploads are staged here, on the file system of local blobs, so that keeping one is a link.
BLOB_STAGING_DIR = storages.folder_of(_blobs, DATA_DIR / "blobs") / "incoming"
# Bytes that nothing refers to are removed after this time.
BLOB_GRACE = timedelta(hours=env.integer("SLUICE_BLOB_GRACE_HOURS", 24, least=1, most=87_600))
# Artifacts that were never published keep their bytes for so many days; 0: for ever.
ARTIFACT_DAYS = env.integer("SLUICE_ARTIFACT_DAYS", 0, most=36_500)
MAX_UPLOAD_BYTES = env.integer("SLUICE_MAX_UPLOAD_BYTES", 20 * 1024**3, least=1)
# An upload in parts: how large each part is, and how long it may take until it is completed.
UPLOAD_PART_BYTES = env.integer(
    "SLUICE_UPLOAD_PART_BYTES", 16 * 1024**2, least=5 * 1024**2, most=1024**3
)
# How many uploads one person may have open, and how many bytes they may announce in all.
OPEN_UPLOADS = env.integer("SLUICE_OPEN_UPLOADS", 20, least=1)
OPEN_UPLOAD_BYTES = env.integer("SLUICE_OPEN_UPLOAD_BYTES", 100 * 1024**3, least=1)
UPLOAD_LIFETIME = timedelta(hours=env.integer("SLUICE_UPLOAD_HOURS", 24, least=1, most=8_760))
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024**2
LINK_LIFETIME = timedelta(hours=env.integer("SLUICE_LINK_HOURS", 24, least=1, most=87_600))

# Whether a whole download is hashed on its way, and broken off where its bytes are damaged.
VERIFY_READS = env.flag("SLUICE_VERIFY_READS", default=True)
# Where nginx has the local bytes, like /blobs/, and sends them itself; empty: Sluice does.
ACCEL_REDIRECT = env.prefix("SLUICE_ACCEL_REDIRECT")
# Whether a download from a storage that can sign addresses is sent there.
SIGNED_URLS = env.flag("SLUICE_SIGNED_URLS", default=False)

# Networks inside which sources may lie nevertheless, like 10.1.0.0/16; empty: the internet only.
ALLOWED_NETWORKS = env.networks("SLUICE_ALLOWED_NETWORKS")
# How many bytes a second must move, a minute through, where something is fetched or sent.
LEAST_PACE = env.integer("SLUICE_LEAST_PACE", 16 * 1024)
# Folders below which a git source may name a repository on this machine.
LOCAL_REPOSITORIES = tuple(
    Path(folder).resolve()
    for folder in env.items("SLUICE_LOCAL_REPOSITORIES", (str(DATA_DIR / "repositories"),))
)

# ---- E-mail and webhooks ------------------------------------------------------------------------
# The server that notices are sent through; empty: none are sent by e-mail.
EMAIL_HOST = env.text("SLUICE_EMAIL_HOST", "")
_mail = env.choice("SLUICE_EMAIL_SECURITY", "STARTTLS", ("STARTTLS", "TLS", "NONE"))
EMAIL_USE_TLS, EMAIL_USE_SSL = _mail == "STARTTLS", _mail == "TLS"
EMAIL_PORT = env.integer(
    "SLUICE_EMAIL_PORT", {"STARTTLS": 587, "TLS": 465, "NONE": 25}[_mail], least=1, most=65_535
)
EMAIL_HOST_USER = env.text("SLUICE_EMAIL_USER", "")
EMAIL_HOST_PASSWORD = env.secret("SLUICE_EMAIL_PASSWORD") or ""
# A receiver that dribbles must not hold a worker.
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.mailbox("SLUICE_EMAIL_FROM", "Sluice <sluice@localhost>")
# After so many days of nothing but failures a webhook is disabled.
WEBHOOK_DAYS = env.integer("SLUICE_WEBHOOK_DAYS", 5, least=1, most=365)

# ---- Runs ---------------------------------------------------------------------------------------
# The groups (runsOn) that this worker serves; none: jobs of every group that nobody else serves.
RUNNER_GROUPS = env.items("SLUICE_RUNNER_GROUPS", ())
# Whether this worker executes jobs and does nothing else, as on a machine of its own.
RUNNER_ONLY = env.flag("SLUICE_RUNNER_ONLY", default=False)
# How often, in seconds, a runner says that it is there.
RUNNER_BEAT = 10
# Where root gives jobs users of their own, these must get to their folders, and not near the data.
_own_folder = hashlib.sha256(str(DATA_DIR).encode()).hexdigest()[:12]
WORKSPACES_DIR = env.path(
    "SLUICE_WORKSPACES",
    DATA_DIR / "workspaces" if os.geteuid() else Path("/var/tmp") / f"sluice-{_own_folder}",  # noqa: S108  # isolation.py sees to it that nobody else made it
)
# Whether a worker that is root runs each job as a user of its own, and which users there are.
ISOLATE_STEPS = env.flag("SLUICE_ISOLATE_STEPS", default=True)
STEP_USERS = env.span("SLUICE_STEP_USERS", (60_100, 60_899))
# What a step may use: bytes of one file and of all that the job writes, memory of one process (0:
# what the machine has), processes; and what must stay free on the disk.
MAX_STEP_FILE_BYTES = env.integer("SLUICE_MAX_STEP_FILE_BYTES", 20 * 1024**3, least=1024**2)
MAX_WORKSPACE_BYTES = env.integer("SLUICE_MAX_WORKSPACE_BYTES", 50 * 1024**3, least=1024**2)
MAX_STEP_MEMORY_BYTES = env.integer("SLUICE_MAX_STEP_MEMORY_BYTES", 0)
MAX_STEP_PROCESSES = env.integer("SLUICE_MAX_STEP_PROCESSES", 2048, least=16)
MIN_FREE_BYTES = env.integer("SLUICE_MIN_FREE_BYTES", 512 * 1024**2)
# What becomes of a job that asks for a container where the worker has no engine to run one.
CONTAINERS_ON_HOST = env.choice("SLUICE_CONTAINERS", "REQUIRE", ("REQUIRE", "HOST")) == "HOST"
# Where SetupJava finds what a definition asks for, besides the usual folders: 1.8=/opt/jdk8,…
JDKS = env.mapping("SLUICE_JDKS")
MAVENS = env.mapping("SLUICE_MAVENS")
# What images are built with, in the order of preference: names or paths of programs.
BUILDERS = env.items("SLUICE_BUILDERS", ("docker", "buildah", "podman", "buildctl"))
# The kubectl to use; empty: the one on the PATH.
KUBECTL = env.text("SLUICE_KUBECTL", "")
# A row that is running must renew its lease; the sweeper takes over what has not.
LEASE = timedelta(seconds=env.integer("SLUICE_LEASE_SECONDS", 30, least=5, most=3600))
# While bytes go to another storage or registry a single piece of them may take minutes.
CARRY_LEASE = max(LEASE, timedelta(minutes=10))
# After so many workers died over it, a job or promotion ends as errored.
MAX_ATTEMPTS = 3
SWEEP_EVERY = timedelta(seconds=env.integer("SLUICE_SWEEP_SECONDS", 5, least=1, most=3600))
MAX_JOB_MINUTES = env.integer("SLUICE_MAX_JOB_MINUTES", 240, least=1, most=100_000)
MAX_LOG_BYTES = env.integer("SLUICE_MAX_LOG_BYTES", 10 * 1024**2, least=1024)
# Each reader who follows a log live holds one of the web process's threads (config/supervisor.py).
LOG_FOLLOWERS = env.integer("SLUICE_LOG_FOLLOWERS", 16, most=200)

# ---- Celery -------------------------------------------------------------------------------------
CELERY_BROKER_URL = env.secret("SLUICE_BROKER_URL") or "filesystem://localhost/"
if CELERY_BROKER_URL.startswith("filesystem://"):
    _messages = str(DATA_DIR / "broker")
    CELERY_BROKER_TRANSPORT = "config.broker:Transport"
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": _messages,
        "data_folder_out": _messages,
        "control_folder": str(DATA_DIR / "broker" / "control"),
        "polling_interval": 0.05,
    }
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "beat")
CELERY_BEAT_SCHEDULE = (
    {
        # A sweep that was not run in time is not worth running: the next one does the same.
        name: {"task": task, "schedule": SWEEP_EVERY, "options": {"expires": 60}}
        for name, task in (
            ("sweep-runs", "pipelines.sweep"),
            ("sweep-promotions", "promotion.sweep"),
            ("tell-people", "promotion.tell"),
        )
    }
    | {
        name: {"task": task, "schedule": timedelta(hours=1), "options": {"expires": 3000}}
        for name, task in (
            ("retain-versions", "promotion.retain"),
            ("collect-bytes", "pipelines.collect"),
        )
    }
    | {
        # It lists all that is stored.
        "tidy-storage": {"task": "pipelines.tidy", "schedule": timedelta(days=1)},
    }
)
# How often the images of versions are looked at in their registry, and how many in one minute.
LOOK_AT_IMAGES_EVERY = timedelta(
    seconds=env.integer("SLUICE_LOOK_AT_IMAGES_SECONDS", 3600, least=60)
)
IMAGES_A_LOOK = 10
CELERY_BEAT_SCHEDULE["look-at-images"] = {
    "task": "promotion.look_at_images",
    "schedule": timedelta(minutes=1),
    "options": {"expires": 60},
}

# ---- Logs ---------------------------------------------------------------------------------------
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.choice("SLUICE_LOG_LEVEL", "INFO", LEVELS)},
    # Outgoing requests and refusals are answers, not faults: they need no line each.
    "loggers": {"httpx": {"level": "WARNING"}, "django.request": {"level": "ERROR"}},
}
