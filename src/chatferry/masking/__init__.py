"""Personal data in texts: found (`finding`), put behind masks, and back in their place (`masks`)."""
