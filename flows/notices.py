"""What staff should know beside the runs: an artifact on a fixed key, with every earlier word of it kept by Prefect."""

from collections.abc import Mapping

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate

from models.terms import Terms

RULES_KEY = "rules-in-force"


async def tell_rules(rules: Mapping[str, Terms], problems: str) -> None:
    """Say which rules are in force, and why an edit of the files was refused, if it was."""
    artifact = ArtifactCreate(
        key=RULES_KEY, type="markdown", description="The rules in force", data=rules_markdown(rules, problems)
    )
    async with get_client() as client:
        await client.create_artifact(artifact)


def rules_markdown(rules: Mapping[str, Terms], problems: str) -> str:
    """A table of the rules in force; above it, where an edit was refused, all that is wrong with it."""
    parts = []
    if problems:
        parts.append("**The rule files were edited, but not rightly: the rules from before stay in force.**")
        parts.append("```text\n" + problems.replace("```", "'''") + "\n```")
    rows = [f"| {rule_id} | {rules[rule_id].status} | `{rules[rule_id].version}` |" for rule_id in sorted(rules)]
    parts.append("\n".join(["| rule | status | version |", "|---|---|---|", *rows]))
    return "\n\n".join(parts)
