"""Media: files of images and sound as pictures of one size, cut into regions."""
