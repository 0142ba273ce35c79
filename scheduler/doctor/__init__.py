"""The doctor: asks Kafka for facts, judges them by rules, and says what to change."""
