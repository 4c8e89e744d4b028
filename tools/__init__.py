"""What makes files of this project, and is not shipped with it."""
