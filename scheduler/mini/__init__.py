"""The scheduler without a Kafka: an embedded broker, a real replica, and a clock that is moved by request."""
