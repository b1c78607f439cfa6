"""Room keys, epochs, envelopes, invites and trust: members only, never within the relay's reach.

    keys         a member's key pairs, the epoch keys it holds
    genesis      founding a room
    controls     the other control records: roles, handover, leaving; ATTACH
    chain        replaying a control log, verified
    log          the room log's hash, the senders' chains, fork evidence
    bodies       what a message says; names; padding
    lite         how a text is marked up: its grammar, its tree, its rows on a screen
    events       bodies sealed and signed, opened and checked
    epochs       both kinds of REKEY, KEY_REQ, what is due and what to forget
    invites      invites and their links
    joining      the joiner's and the admitter's half of a join
    attachments  files in sealed chunks
    signals      typing and presence, never stored
    receipts     a member's signed word how far it has the log; it travels in a signal
    view         a member's view of a room: one delivery at a time through all the checks
    comparing    a secret phrase compared by two members, step by step
    evidence     what a relay's evidence against another one proves
    trust        safety numbers, fingerprints, the hub's word
    boxes        secrets from one member to another; contexts: what each seal is bound to

Pure: no clock, no disk; time comes in as milliseconds since 1970, randomness from Themis alone.
"""
