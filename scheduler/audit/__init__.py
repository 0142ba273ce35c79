"""The judge: what was acknowledged, against what stands in Kafka; it shares nothing with what it judges."""
