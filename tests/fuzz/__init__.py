"""What becomes of damaged files: they load as they are, or are refused in one readable line.

A few inputs each in the normal test run; `make fuzz` takes 20,000. Every file in here is a target,
`damage.py` says what is done to it, and `judge.py` what it may come to.
"""
