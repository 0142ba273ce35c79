"""The planner: makes Kafka hold exactly the schedules that a crontab states."""
