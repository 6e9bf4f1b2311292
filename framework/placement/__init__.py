"""Placement of attempts: hosts with room, their health, and the retries of failed tasks."""
