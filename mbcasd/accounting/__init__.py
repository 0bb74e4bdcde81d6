"""What was decided: receipts, record, metrics."""
