"""Files of data: finding, reading, downloading and generating them."""
