"""What a device is, what it can hold and do: memory, tiles, how many images at once."""
