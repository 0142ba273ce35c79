"""The commands of `scheduler`, a module for each group of them."""
