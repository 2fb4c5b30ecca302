"""What a result says, once: numbers, depths, words, tokens, curves, and the tables made of them.

Nothing here knows an analysis. Figures, pages, terminal, JSON and sentences take their words and
their numbers from here, so that no two of them disagree.
"""
