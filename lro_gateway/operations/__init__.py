"""What an operation is: its name, its state, its progress, and how often it is looked at."""
