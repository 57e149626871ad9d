"""From a row to its prediction."""
