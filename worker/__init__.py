"""The worker: consumes the jobs of one cluster, runs them, and keeps the books in Kafka.

The way of a message through the modules:
`runs` reads it, `lanes` lets it wait its turn, `slots` gives it a thread, `runner` performs the attempt with
`execution` (and `output`, `processes`), `attempts` says what follows a failure, `records` writes that down,
`bookkeeping` has the `ledger` make it one transaction with the `offsets` that are done, and `service` keeps polling
meanwhile.
"""
