"""The shell around the core: sockets, the hub task, fan-out, pages, metrics, the log.

Law: no rule of the protocol is decided here. One hub task owns the relay's state; facts are
committed before anyone hears of them; every queue is bounded. Never reaches `e2e` or `client`.
"""
