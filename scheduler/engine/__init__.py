"""The pure core: what is pending in one partition, what is due, and what a transaction has to say about it.

Facts go in (a record was read, the end was reached, a batch was committed), settlements come out.
No Kafka, no clock, no threads, no logging: every decision can be replayed.
"""
