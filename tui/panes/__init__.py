"""What the tabs of a serving's page show: one file for each tab."""
