"""The standard normal distribution, as far as intervals need it."""

Z95 = 1.959963984540054
"""The 97.5 % quantile: a 95 % interval is so many standard errors wide to either side."""
