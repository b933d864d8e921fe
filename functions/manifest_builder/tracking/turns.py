"""Turns of stalled dates in the table: one item for each, in one partition. They expire by themselves."""

from collections.abc import Iterable
from datetime import timedelta

from manifest_builder import aws, clock
from manifest_builder.settings import settings
from manifest_builder.tracking import table
from manifest_builder.turns import Turn

PARTITION = "SWEEP"
KEPT = timedelta(days=7)


def read() -> dict[str, Turn]:
    """The last turn of each date that was stalled lately."""
    return {
        item["file_name"]: Turn(item["file_name"], item["waits_since"], int(item["tries"]), item["oldest"])
        for item in table.query(PARTITION)
    }


def write(turns: Iterable[Turn]) -> None:
    """Writes the turns, each over the one before it."""
    for turn in turns:
        item = {
            "date_prefix": PARTITION,
            "file_name": turn.date_prefix,
            "waits_since": turn.waits_since,
            "tries": turn.tries,
            "oldest": turn.oldest,
            "ttl": int((clock.from_text(turn.waits_since) + KEPT).timestamp()),
        }
        aws.dynamodb().put_item(TableName=settings().tracking_table, Item=table.to_dynamodb(item))
