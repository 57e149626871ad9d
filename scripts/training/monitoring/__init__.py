"""What live traffic says of the model in production, and when it calls for training again."""
