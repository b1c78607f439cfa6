"""`!echo words`: says them again. The smallest bot there is."""

from __future__ import annotations

from bots import Bot, Context, Rest

__all__ = ["bot"]

bot = Bot("echo")


@bot.command()
async def echo(ctx: Context, *, text: Rest) -> None:
    """Say it again."""
    await ctx.reply(text, markdown=False)
