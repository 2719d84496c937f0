"""The forms of one's own account."""

from django import forms


class TokenForm(forms.Form):
    name = forms.CharField(
        max_length=100, help_text="What it is for, so that you know later what to revoke."
    )
