"""Evidence: what speaks for the bytes of a version, and who vouches for it.

`strict`, `dsse`, `statements`, `reports`, `boms` and `reading` are pure: text in, values out. Rows
are written by `keys` (whom the site trusts) and `keeping` (what was said), and by nobody else;
`producing` says what Sluice itself saw, `vouching` what it has placed, `facts` what gates may ask.
"""
