"""`lake vault`: what stands behind tokens of `<mask strategy="tokenize">`, for an auditor."""

from __future__ import annotations

from typing import Annotated

import typer

from command_line.stewards import Json, Reason, Token, desk, show

app = typer.Typer(help="Tokens of masked values, and what they stand for.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Tokens of masked values, and what they stand for."""


@app.command("reveal")
def reveal_command(
    pipeline: Annotated[str, typer.Argument(metavar="APP/PIPELINE", help="The pipeline that masks.")],
    tokens: Annotated[list[str], typer.Argument(metavar="TOKEN...", help="As they stand in a table: tok_…")],
    reason: Reason,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """The values behind tokens, in clear: needs the role auditor, and is on record."""
    from stewardship.vault import reveal_tokens

    with desk(token, as_json) as at:
        found = at.pipeline(pipeline)
        actor = at.actor(found.key, "reveal")
        values = reveal_tokens(at.lake, at.catalog, found, actor, reason, tokens)
    asked = dict.fromkeys(tokens)

    def print_values() -> None:
        for each in asked:
            typer.echo(f"{each}  {values[each]}")

    show(as_json, {"values": [{"token": each, "value": values[each]} for each in asked]}, print_values)
