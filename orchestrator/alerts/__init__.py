"""What the operator is told: conditions become rows, rows become messages, and each notifier carries messages to one place."""
