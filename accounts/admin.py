from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.http import HttpRequest

from accounts.models import Passkey, Token, User


@admin.register(User)
class PersonAdmin(UserAdmin[User]):
    list_display = ("username", "email", "roles", "is_machine", "is_active", "last_login")
    list_filter = ("is_machine", "is_active", "is_staff")
    fieldsets = (
        *(UserAdmin.fieldsets or ()),
        ("Sluice", {"fields": ("roles", "is_machine", "gets_mail")}),
    )


@admin.register(Token)
class TokenAdmin(admin.ModelAdmin[Token]):
    """Tokens can be seen and revoked here; they are issued on the account page."""

    list_display = ("name", "token_key", "user", "created", "expiry", "last_used_at")
    list_filter = ("user",)
    search_fields = ("name", "token_key", "user__username")
    readonly_fields = ("digest", "token_key", "user", "created", "expiry", "last_used_at", "name")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(Passkey)
class PasskeyAdmin(admin.ModelAdmin[Passkey]):
    """Passkeys can be seen here; their owners add and remove them on the account page."""

    list_display = ("name", "user", "created_at", "last_used_at", "removed_at")
    list_filter = ("user",)
    list_select_related = ("user",)
    search_fields = ("name", "user__username", "credential_id")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Passkey | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Passkey | None = None) -> bool:
        return False
