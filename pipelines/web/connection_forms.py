"""The forms of service connections. What was typed as a secret is never sent back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib.auth.models import Group
from django.db.models import QuerySet

from pipelines.credentials import FILES, LONGEST_SECRET, LONGEST_SETTING, SECRETS, SHOWN, WITH_HOST
from pipelines.models import ConnectionKind
from pipelines.models.pipeline import SLUG_HELP

K = ConnectionKind


@dataclass(frozen=True, slots=True)
class Words:
    """How a field is called, and what belongs into it."""

    label: str
    help: str = ""


SECRET_WORDS: Mapping[tuple[str, str], Words] = {
    (K.GIT, "password"): Words("Password or access token", "Give it the right to read, no more."),
    (K.REGISTRY, "password"): Words("Password or access token"),
    (K.KUBERNETES, "kubeconfig"): Words(
        "Kubeconfig", "The whole file, with the certificates and the token in it, not their paths."
    ),
    (K.SSH, "private_key"): Words(
        "Private key", "The whole file, its first and its last line included."
    ),
    (K.SSH, "passphrase"): Words("Passphrase", "Only if the key is locked with one."),
    (K.S3, "secret_key"): Words("Secret access key"),
}
SETTING_WORDS: Mapping[tuple[str, str], Words] = {
    (K.GIT, "username"): Words("User name", "Many servers take any name beside a token."),
    (K.REGISTRY, "username"): Words("User name"),
    (K.SSH, "username"): Words("User name", "Who signs in on the machines."),
    (K.S3, "access_key"): Words("Access key id"),
    (K.S3, "bucket"): Words("Bucket"),
    (K.S3, "region"): Words("Region"),
}
HOST_HELP: Mapping[str, str] = {
    K.GIT: "Like git.example.com. The secret is sent to no other host.",
    K.REGISTRY: "Like registry.example.com:5000. The secret is sent to no other host.",
    K.S3: "Like s3.eu-west-1.amazonaws.com. The secret is sent to no other host.",
}
#: What each kind is for, where a person chooses one.
PURPOSES: Mapping[str, str] = {
    K.GIT: "Read repositories that are not open to everybody.",
    K.REGISTRY: "Pull and push images.",
    K.KUBERNETES: "Apply manifests to a cluster, with its kubeconfig.",
    K.SSH: "Deploy to machines, with a private key.",
    K.S3: "Keep the files of an environment in a bucket of its own.",
}


class SecretLine(forms.PasswordInput):
    def __init__(self) -> None:
        # Not "off", which browsers read as "offer the visitor's own password".
        super().__init__(attrs={"autocomplete": "new-password", "spellcheck": "false"})


class SecretFile(forms.Textarea):
    """A text area that comes back empty, as a password field does."""

    def __init__(self) -> None:
        attrs = {"rows": 8, "autocomplete": "off", "spellcheck": "false", "autocapitalize": "off"}
        super().__init__(attrs={**attrs, "wrap": "off", "class": "mono"})

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        return super().get_context(name, None, attrs)


class SecretsForm(forms.Form):
    """The secrets of one kind, and nothing else."""

    def __init__(self, kind: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data)
        self.kind = kind
        self.secret_names = SECRETS[kind]
        for number, name in enumerate(self.secret_names):
            words = SECRET_WORDS[kind, name]
            self.fields[name] = forms.CharField(
                label=words.label,
                help_text=words.help,
                required=number == 0,
                strip=False,
                max_length=LONGEST_SECRET,
                widget=SecretFile() if name in FILES else SecretLine(),
            )

    @property
    def secrets(self) -> dict[str, str]:
        return {name: self.cleaned_data[name] for name in self.secret_names}


class NewConnectionForm(SecretsForm):
    """A connection of one kind, for one of the teams of the person who makes it."""

    def __init__(
        self, kind: str, teams: "QuerySet[Group]", data: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(kind, data)
        secret_fields = dict(self.fields)
        self.fields = {
            "name": forms.CharField(
                max_length=64, help_text=f"What definitions call it. {SLUG_HELP}"
            ),
            "team": forms.ModelChoiceField(
                teams,
                initial=teams.first() if teams.count() == 1 else None,
                help_text="Owns it: each of its members can change, share and remove it.",
            ),
        }
        if kind in WITH_HOST:
            self.fields["host"] = forms.CharField(max_length=255, help_text=HOST_HELP[kind])
        for name in SHOWN[kind]:
            words = SETTING_WORDS[kind, name]
            self.fields[name] = forms.CharField(
                label=words.label, help_text=words.help, required=False, max_length=LONGEST_SETTING
            )
        self.fields |= secret_fields
        self.fields["description"] = forms.CharField(
            required=False, max_length=200, help_text="What it is for. No secret belongs here."
        )

    @property
    def settings(self) -> dict[str, str]:
        return {name: self.cleaned_data[name] for name in SHOWN[self.kind]}


class SharingForm(forms.Form):
    """Who may use a connection besides the team that owns it."""

    teams = forms.ModelMultipleChoiceField(
        Group.objects.none(), required=False, widget=forms.CheckboxSelectMultiple
    )
    everybody = forms.BooleanField(
        required=False,
        label="Everybody’s pipelines may use it",
        help_text="Whoever may start runs can then use the secret, though not see it.",
    )

    def __init__(
        self,
        others: "QuerySet[Group]",
        data: Mapping[str, Any] | None = None,
        *,
        shared_with: Iterable[Group] = (),
        with_all: bool = False,
    ) -> None:
        initial = {"teams": list(shared_with), "everybody": with_all}
        super().__init__(data, initial=initial)
        choices: Any = self.fields["teams"]
        choices.queryset = others
        choices.label = "Teams whose pipelines may use it"
