from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("accounts", "0002_passkeys")]

    operations = [
        migrations.AddField(
            model_name="user",
            name="gets_mail",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text="Notices are sent by e-mail, too, where the site can send any.",
                verbose_name="gets e-mail",
            ),
        ),
    ]
