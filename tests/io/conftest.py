"""Its place puts this folder on the path, so that tests below it share ``made_files``."""
