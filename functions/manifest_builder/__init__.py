"""What the boxes of the state machine share: settings, tracking table, batching rule, clock, telemetry."""
