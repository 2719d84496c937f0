"""The forms of the pages about machine groups. They read text into values; verbs decide."""

from typing import Any

from django import forms

from accounts.models import User
from pipelines.models import ConnectionKind, ServiceConnection
from pipelines.models.pipeline import SLUG_HELP


class NewMachineGroupForm(forms.Form):
    name = forms.CharField(
        max_length=64, help_text=f"What definitions call it (machineGroup). {SLUG_HELP}"
    )
    connection = forms.ModelChoiceField(
        queryset=ServiceConnection.objects.none(),
        empty_label="Choose…",
        to_field_name="name",
        help_text="The SSH connection whose user and key open every machine of the group. Only "
        "those of your own teams are listed.",
    )
    description = forms.CharField(max_length=200, required=False)

    def __init__(self, user: User, data: Any = None) -> None:
        super().__init__(data)
        usable = ServiceConnection.objects.filter(kind=ConnectionKind.SSH)
        field = self.fields["connection"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = usable if user.is_superuser else usable.of_teams_of(user).distinct()


class MachineForm(forms.Form):
    name = forms.CharField(max_length=64, help_text=SLUG_HELP)
    host = forms.CharField(
        max_length=255, help_text="Its name or address, like web1.example.com or 203.0.113.7."
    )
    port = forms.IntegerField(min_value=1, max_value=65_535, initial=22)
    host_key = forms.CharField(
        required=False,
        max_length=10_000,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false", "autocomplete": "off"}),
        help_text="A line of its /etc/ssh/ssh_host_ed25519_key.pub. Empty: the machine is asked "
        "now and trusted by what it answers; compare the fingerprint that is then shown.",
    )
