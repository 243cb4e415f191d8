"""Colours and markers of every plot, told apart without colour vision too (Okabe and Ito's palette)."""

INK = "#1b1f27"
"""The colour of every word and axis; the report puts the page's own text colour in its place."""
MUTED = "#8b919c"
HUES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = "osD^vPX*"
