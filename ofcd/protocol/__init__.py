"""The shared words of OFC/1: ids, limits, codes, records, frames, the codec, the room's state.

Law: pure. No IO, no clock, no randomness, no crypto but SHA-256; the same bytes give the same
values everywhere.
"""
