"""What servedeck replaces inside Textual, and the threads that guard the terminal.

Everything here leans on parts of Textual that it does not promise to keep; each has a test.
"""
