-- Stores an entry and ends the lease of its key. With a token only while that holds the lease and, on one server, only
-- where no group is newer than the entry; groups that the handler named are created there.
-- KEYS  1 entry  2 lease  [3 clock  groups]
-- ARGV  1 token, '' for none  2 life in ms, 0 for no end  3 entry bytes  4 wake channel  5 key as the wake-up names it
--       6 random number  7 name of the server  8 life of the groups in ms, 0 for no end  9 incarnation  10 stamp
-- Returns 1 stored | 0 fenced
-- include: clock group lease
local token = ARGV[1]
if token ~= '' and not holdsLease(KEYS[2], token) then return 0 end
local stored = 1
if KEYS[3] then
  local incarnation, at = clock(KEYS[3], ARGV[6], ARGV[7])
  for index = 4, #KEYS do
    local hard = ensureGroup(KEYS[index], incarnation, at, ARGV[8])
    if token ~= '' and (incarnation ~= ARGV[9] or hard > tonumber(ARGV[10])) then stored = 0 end
  end
end
if stored == 1 then save(KEYS[1], ARGV[3], ARGV[2]) end
endLease(KEYS[2], ARGV[4], ARGV[5])
return stored
