"""`ofc-compliance`: what a relay of OFC/1 promises, tried from outside, one named check a promise.

The kit is a hostile client: it holds no relay code, and believes nothing that it is told. It plays
everybody of a room itself, computes log, running hash and rights by the rules of `ofcd.protocol`,
and breaks one rule at a time. Any relay at any address can be tried; docs/compliance.md.

    errors     a broken promise, or why it can not be tried here
    peer       one link, in the hands of someone who may do anything on it
    people     members, and every frame they may send, right or wrong
    relays     the kit as a relay: a follower, and the hub of a room, that may lie
    lab        a check's links and people at one relay
    check      what a check is, and running it
    checks     the checks, a module for each group
    malformed, p256     JSON, keys and signatures that must be refused
    cli        the command
"""

from __future__ import annotations

from ofcd.compliance.check import Check, Outcome, Result, run_check, unkept
from ofcd.compliance.checks import CHECKS
from ofcd.compliance.lab import Target, target_of

__all__ = ["CHECKS", "Check", "Outcome", "Result", "Target", "run_check", "target_of", "unkept"]
