"""What differs between two versions of a package. Pure: values in, values out.

Every list is cut at a number that the caller names, and says how long it would have been, so that
ten thousand files cost an approver no more than ten.
"""
