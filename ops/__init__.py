"""Commands for operators: what became of a file, and what to do about it. Thin over boto3."""
