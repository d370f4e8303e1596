"""Passes: functions from program to program, and to schedules and estimates."""
