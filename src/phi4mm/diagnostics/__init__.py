"""What the commands doctor, inspect, verify and bench compute."""
