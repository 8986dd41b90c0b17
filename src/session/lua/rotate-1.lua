-- Gives a session another id, and the owner and epoch that go with it, in place.
-- KEYS and ARGV  see include/rotate.lua
-- Returns what include/rotate.lua says
-- include: rotate
return rotate()
