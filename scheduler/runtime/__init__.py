"""What every program of the product shares: settings, Kafka client configuration, logs, lifecycle, CLI."""
