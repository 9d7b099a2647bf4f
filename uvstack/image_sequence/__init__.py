"""Light curves: the same sources measured in images of several times."""
