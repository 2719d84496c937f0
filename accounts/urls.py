"""The addresses of one's own account, below /account/."""

from django.urls import path

from accounts import views

app_name = "accounts"

urlpatterns = [
    path("", views.account, name="account"),
    path("mail/", views.mail_set, name="mail_set"),
    # Tokens
    path("tokens/issue/", views.token_issue, name="token_issue"),
    path("tokens/<str:token_key>/revoke/", views.token_revoke, name="token_revoke"),
    # Passkeys
    path("passkeys/begin/", views.passkey_begin, name="passkey_begin"),
    path("passkeys/finish/", views.passkey_finish, name="passkey_finish"),
    path("passkeys/<int:passkey_id>/remove/", views.passkey_remove, name="passkey_remove"),
]
