-- The same where its user signs out and other data stays: a server that is full must not keep anybody signed in.
-- KEYS and ARGV  see include/rotate.lua
-- Returns what include/rotate.lua says
-- Flags: allow-oom
-- include: rotate
return rotate()
