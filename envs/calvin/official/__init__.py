"""The official asset bundle: which files it consists of, where they come from, how they are fetched."""
