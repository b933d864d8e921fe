"""The repository itself: its Makefile and the imports between its folders."""
