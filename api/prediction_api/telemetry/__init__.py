"""What is written down and counted: predictions, feedback, metrics, events."""
