"""`webhook`: signed HTTP in, said in rooms; messages out, signed, with retries."""

from __future__ import annotations

from bots import Bot
from bots.options import read_options
from bots.shelf.webhook import incoming, outgoing
from bots.shelf.webhook.settings import WebhookSettings

__all__ = ["bot"]

bot = Bot("webhook")
bot.include(incoming.group)
bot.include(outgoing.group)


@bot.resource
def settings(bot: Bot) -> WebhookSettings:
    """The bot's options."""
    return read_options(bot.options, WebhookSettings)
