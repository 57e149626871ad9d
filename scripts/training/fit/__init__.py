"""From the training part to the fitted winner."""
