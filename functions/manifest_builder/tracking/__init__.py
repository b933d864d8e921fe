"""The DynamoDB tracking table: file rows, locks and manifest records. One module for each; `table` holds the calls."""
