"""Moves the messages of the dead-letter queue back to the input queue, after the cause of their failure is fixed."""

import argparse

from botocore.exceptions import ClientError

from manifest_builder.announcements import sqs
from ops.screen import Screen
from ops.stack import Stack
from toolkit.texts import plural

EXAMPLES = ("redrive", "redrive --yes")
# Errors of services without StartMessageMoveTask.
UNKNOWN_CALL = {"InvalidAction", "UnknownOperationException", "501"}
VISIBILITY_SECONDS = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(stack: Stack, options: argparse.Namespace, screen: Screen) -> int:
    attributes = sqs().get_queue_attributes(
        QueueUrl=stack.dead_letter_queue_url, AttributeNames=["QueueArn", "ApproximateNumberOfMessages"]
    )["Attributes"]
    waiting = int(attributes["ApproximateNumberOfMessages"])
    if waiting:
        if not screen.confirm(
            f"Moves {plural(waiting, 'message')} of {stack.dead_letter_queue_url} to the input queue"
        ):
            return 1
        move(stack, attributes["QueueArn"])
    screen.answer({"stack": stack.name, "messages": waiting})
    screen.say(f"{plural(waiting, 'message')} on the way back" if waiting else "the dead-letter queue is empty")
    return 0


def move(stack: Stack, source_arn: str) -> None:
    try:
        # With a destination, because SQS knows no source queue of messages that EventBridge sent here.
        sqs().start_message_move_task(SourceArn=source_arn, DestinationArn=queue_arn(stack.input_queue_url))
    except ClientError as error:
        if error.response["Error"]["Code"] not in UNKNOWN_CALL:
            raise
        move_one_by_one(stack)


def queue_arn(url: str) -> str:
    return sqs().get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def move_one_by_one(stack: Stack) -> None:
    """Sends each message before it is deleted. A message that exists twice, after an interruption, is harmless."""
    source = stack.dead_letter_queue_url
    while (
        messages := sqs()
        .receive_message(QueueUrl=source, MaxNumberOfMessages=10, VisibilityTimeout=VISIBILITY_SECONDS)
        .get("Messages")
    ):
        for message in messages:
            sqs().send_message(QueueUrl=stack.input_queue_url, MessageBody=message["Body"])
            sqs().delete_message(QueueUrl=source, ReceiptHandle=message["ReceiptHandle"])
