"""The Flow language: reading a definition, checking it, and finding its references.

Pure: no Django, no files, no network. `parser` reads, `check` judges, `references` and
`conditions` are what a run needs of the language, `catalog` holds what can be named in it.
"""
