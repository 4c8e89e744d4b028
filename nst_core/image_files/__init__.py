"""Files of images: which are read, how large, and what Pillow does not see of their colours."""
