"""What a file says about itself: Go's version, build, linkage; else its language."""
