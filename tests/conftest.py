"""What all tests share."""

pytest_plugins = ["tests.control_plane.fixtures", "tests.tui.idle"]
