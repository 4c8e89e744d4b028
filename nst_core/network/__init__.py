"""VGG19 and where its weights come from."""
