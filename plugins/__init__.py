"""Every piece that ships with affectkit, through the same door as a third party's."""
