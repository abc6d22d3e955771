"""The tables of actions, one file for each part of the screen."""
