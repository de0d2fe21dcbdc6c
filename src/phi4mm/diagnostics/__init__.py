"""Libraries of the commands that look at machines, checkpoints and speed."""
