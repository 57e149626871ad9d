"""What people look at: the model card and its plots."""
