"""The forms of one's own account."""

from django import forms


class TokenForm(forms.Form):
    name = forms.CharField(
        max_length=100, help_text="What it is for, so that you know later what to revoke."
    )


class PasskeyForm(forms.Form):
    name = forms.CharField(
        max_length=100, help_text="Which device or key it is, so that you know it again."
    )
    password = forms.CharField(
        label="Your password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        help_text="Asked again, so that nobody else adds a key in your name.",
    )
