"""What makes the manual: its site (`make docs`) and the pages that are written from the code."""
