"""The master's loop: takes messages, has the scheduler decide, sends tasks, publishes."""
