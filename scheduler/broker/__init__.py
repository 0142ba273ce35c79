"""The shell around the engine: everything that speaks to Kafka for the scheduler."""
