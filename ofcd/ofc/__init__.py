"""`ofc`, the client for people in a terminal: commands, what they print, and the vault's agent."""
