"""Rooms by mail: what is written to a room's address is said there, what is said there is mailed.

Pure, without clock, socket or randomness: `parsing` (bytes to a `Mail`) with `headers`, `charsets`,
`flowed` and `markup`; `quotes` (what somebody wrote now, without what they answer), `automatic`
(whether a person wrote it) with `reports` (bounces), `identity` (who may speak), `threading`
(where it belongs), `composing` (the mails that go out), `schedule` (when, and how often again), and
the three protocols `smtp`, `lmtp` and `imap`. Thin shells of trio around them: `submitting`,
`listening`, `fetching`.
"""
