"""The forms of the pages about promotion. They read text into values; verbs decide."""

from collections.abc import Sequence
from typing import Any

from django import forms

from accounts.models import User
from pipelines import connections
from pipelines.models import Artifact, ConnectionKind, ServiceConnection
from pipelines.models.pipeline import SLUG_HELP
from promotion import keeping
from promotion.models import Environment, Repository, RepositoryKind, Version
from promotion.models.version import VERSION_NAME_HELP

SHORT = {"rows": 3}


class RegistryForm(forms.Form):
    """Where images lie, and with what one asks there."""

    registry = forms.CharField(
        max_length=255,
        required=False,
        help_text="Only for container images: where they lie, like registry.example.com/team. "
        "Every image is then looked up there when it is published, and again from time to time.",
    )
    connection = forms.ChoiceField(
        label="Service connection",
        required=False,
        help_text="For a registry that does not let everybody in. It is used in your name.",
    )

    def __init__(self, user: User, data: Any = None, *, initial: Any = None) -> None:
        super().__init__(data, initial=initial)
        known = connections.visible_to(user).filter(kind=ConnectionKind.REGISTRY)
        field = self.fields["connection"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", "None"), *((each.name, each.name) for each in known)]


class NewRepositoryForm(RegistryForm):
    name = forms.CharField(max_length=64, help_text=SLUG_HELP)
    kind = forms.ChoiceField(
        label="What it holds",
        choices=RepositoryKind.choices,
        initial=RepositoryKind.GENERIC,
        widget=forms.RadioSelect,
    )
    description = forms.CharField(max_length=500, required=False)

    field_order = ("name", "kind", "description", "registry", "connection")


class EvidenceKeyForm(forms.Form):
    """A public key, and what it is called."""

    name = forms.CharField(
        max_length=64,
        help_text="What policies and pages call it, like ci-tests. It is never used again.",
    )
    public_key = forms.CharField(
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false"}),
        help_text="In PEM form: BEGIN PUBLIC KEY. Ed25519, ECDSA on P-256, or RSA.",
    )


class PublishForm(forms.Form):
    """Where an artifact is published, and under which names."""

    repository = forms.ChoiceField(
        required=False, help_text="Only repositories that hold this kind of artifact are listed."
    )
    new_repository = forms.CharField(
        label="Or a new repository", max_length=64, required=False, help_text=SLUG_HELP
    )
    package = forms.CharField(max_length=64, help_text=SLUG_HELP)
    version = forms.CharField(
        max_length=128, help_text=f"{VERSION_NAME_HELP} Never used again, not even after a recall."
    )
    notes = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs=SHORT),
        help_text="What is new, for those who decide on its promotion.",
    )

    def __init__(self, artifact: Artifact, kind: str, may_create: bool, data: Any = None) -> None:
        names = Repository.objects.filter(kind=kind).values_list("name", flat=True)
        suggested = artifact.name.lower() if artifact.name.isascii() else ""
        super().__init__(data, initial={"package": suggested, "repository": names.first() or ""})
        choices = [("", "Choose…" if names else "None yet"), *((name, name) for name in names)]
        field = self.fields["repository"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices
        if not may_create:
            del self.fields["new_repository"]
            field.required = True

    def clean(self) -> dict[str, Any]:
        written = super().clean() or self.cleaned_data
        chosen, new = written.get("repository"), written.get("new_repository")
        if bool(chosen) == bool(new) and "repository" not in self.errors:
            self.add_error("repository", "Choose a repository, or name a new one: not both.")
        return written


class RecallForm(forms.Form):
    reason = forms.CharField(
        widget=forms.Textarea(attrs=SHORT), help_text="Whoever selected this version will read it."
    )
    replacement = forms.ModelChoiceField(
        queryset=Version.objects.none(),
        required=False,
        empty_label="None",
        help_text="The version to use instead.",
    )

    def __init__(self, version: Version, data: Any = None) -> None:
        super().__init__(data)
        others = version.package.versions.available().exclude(pk=version.pk)[:100]
        field = self.fields["replacement"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = version.package.versions.available().exclude(pk=version.pk)
        field.choices = [("", "None"), *((other.pk, other.name) for other in others)]


class RetentionForm(forms.Form):
    """What keeps a version. What each rule means stands in keeping.py."""

    newest = forms.IntegerField(
        label="Keep the newest versions",
        min_value=1,
        max_value=1_000_000,
        required=False,
        help_text="How many of each package. Recalled ones do not count.",
    )
    younger_days = forms.IntegerField(
        label="Keep versions younger than",
        min_value=1,
        max_value=36_500,
        required=False,
        help_text="Days since their publication.",
    )
    used_days = forms.IntegerField(
        label="Keep versions used within",
        min_value=1,
        max_value=36_500,
        required=False,
        help_text="Days since they were last downloaded, selected or published.",
    )
    placed_days = forms.IntegerField(
        label="Keep versions placed within",
        min_value=0,
        max_value=36_500,
        initial=30,
        help_text="Days since they were last placed in any environment: time to roll back.",
    )

    @property
    def rules(self) -> keeping.Rules:
        return keeping.Rules(**self.cleaned_data)


class PolicyForm(forms.Form):
    """What a new environment begins with; all that a policy may say stands in policy_fields.py."""

    approvals = forms.IntegerField(
        label="Approvals",
        min_value=0,
        max_value=20,
        initial=1,
        help_text="How many people must approve. With 0 nobody is asked.",
    )
    self_approval = forms.BooleanField(
        label="The requester may be one of them",
        required=False,
        help_text="Leave it empty so that four eyes see every promotion.",
    )
    upstream = forms.ChoiceField(
        label="Placed first in",
        required=False,
        help_text="Every version must be in that environment before it may come here.",
    )
    expires_after_days = forms.IntegerField(
        label="Requests expire after",
        min_value=1,
        max_value=365,
        initial=14,
        help_text="In days, when nobody has decided until then.",
    )

    def __init__(self, data: Any = None) -> None:
        super().__init__(data)
        names = Environment.objects.values_list("name", flat=True)
        field = self.fields["upstream"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", "Nowhere"), *((name, name) for name in names)]

    @property
    def rules(self) -> dict[str, Any]:
        written = self.cleaned_data
        return {
            "approvals": written["approvals"],
            "self_approval": written["self_approval"],
            "upstream": written["upstream"] or None,
            "expires_after_days": written["expires_after_days"],
        }


class TargetForm(forms.Form):
    """Where an environment's bytes live. What is left empty is not named."""

    registry = forms.CharField(
        label="Images are copied to",
        max_length=255,
        required=False,
        help_text="A registry's host and a path, like registry.example.com/production. The "
        "repository's and the package's name come behind. Empty: images stay where they are.",
    )
    registry_connection = forms.ChoiceField(
        label="Logging in with",
        required=False,
        help_text="A service connection of the kind image registry, for that host.",
    )
    storage_connection = forms.ChoiceField(
        label="Files are copied to",
        required=False,
        help_text="A service connection of the kind S3 storage that names a bucket.",
    )
    storage_prefix = forms.CharField(
        label="In the folder",
        max_length=200,
        required=False,
        help_text="Of the bucket. Empty: at its top.",
    )

    def __init__(
        self, usable: Sequence[ServiceConnection], environment: Environment, data: Any = None
    ) -> None:
        login, bucket = environment.registry_connection, environment.storage_connection
        super().__init__(
            data,
            initial={
                "registry": environment.registry,
                "registry_connection": login.name if login else "",
                "storage_connection": bucket.name if bucket else "",
                "storage_prefix": environment.storage_prefix,
            },
        )
        self._usable = {each.name: each for each in usable}
        for name, kind, none in (
            ("registry_connection", ConnectionKind.REGISTRY, "Nobody: it lets everybody in"),
            ("storage_connection", ConnectionKind.S3, "Nowhere: files stay in Sluice's storage"),
        ):
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)
            fitting = [each for each in usable if each.kind == kind]
            field.choices = [("", none), *((each.name, _place(each)) for each in fitting)]

    @property
    def target(self) -> dict[str, Any]:
        written = self.cleaned_data
        return {
            "registry": written["registry"],
            "registry_connection": self._usable.get(written["registry_connection"]),
            "storage_connection": self._usable.get(written["storage_connection"]),
            "storage_prefix": written["storage_prefix"],
        }


def _place(connection: ServiceConnection) -> str:
    bucket = connection.settings.get("bucket")
    at = f"{bucket} at {connection.host}" if bucket else connection.host
    return f"{connection.name} ({at})"


class NewEnvironmentForm(PolicyForm):
    name = forms.CharField(max_length=64, help_text=SLUG_HELP)
    rank = forms.IntegerField(
        min_value=0,
        max_value=10_000,
        initial=10,
        help_text="Lower comes first on the way to production.",
    )
    description = forms.CharField(max_length=500, required=False)

    field_order = ("name", "rank", "description")


class MomentField(forms.DateTimeField):
    def __init__(self, label: str) -> None:
        super().__init__(
            label=label,
            required=False,
            widget=forms.DateTimeInput(
                attrs={"type": "datetime-local", "step": "1"}, format="%Y-%m-%dT%H:%M:%S"
            ),
            input_formats=["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"],
        )


class MomentForm(forms.Form):
    """Which moment is looked at, and what was known of it when."""

    as_of = MomentField("As of (UTC)")
    known_at = MomentField("as known at")


class HistoryForm(forms.Form):
    """The filters of the history. What is left empty does not narrow it."""

    type = forms.ChoiceField(label="What", required=False)
    actor = forms.CharField(label="Who", max_length=150, required=False)
    repository = forms.CharField(max_length=64, required=False)
    package = forms.CharField(max_length=64, required=False)
    environment = forms.ChoiceField(required=False)
    since = forms.DateField(required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(required=False, widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, types: list[tuple[str, str]], data: Any = None) -> None:
        super().__init__(data)
        names = Environment.objects.values_list("name", flat=True)
        for name, choices in (
            ("type", types),
            ("environment", [(each, each) for each in names]),
        ):
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)
            field.choices = [("", "Any"), *choices]


class WebhookForm(forms.Form):
    name = forms.CharField(max_length=64, help_text=SLUG_HELP)
    url = forms.CharField(
        label="Address",
        max_length=1000,
        help_text="Where events are posted to, like https://ci.example.com/sluice.",
    )
    types = forms.CharField(
        label="Types of events",
        max_length=2000,
        required=False,
        help_text="With spaces between, like promotion.completed version.recalled. Without any, "
        "all events are sent.",
    )
