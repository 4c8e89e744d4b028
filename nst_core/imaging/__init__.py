"""Images as upright sRGB arrays: from bytes, safely, to other sizes and colours, and back."""
