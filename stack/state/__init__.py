"""Keeping, upgrading and moving what the stack has made."""
