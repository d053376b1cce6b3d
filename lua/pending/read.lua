#!lua flags=no-writes
-- read: a pending and what is left of its life.
--
-- KEYS[1]  record    STRING  {xx}:pending:<id>
-- ARGV[1]  request   16 bytes, for the echo
--
-- Returns  {"row", request, record, ms}   ms: to the end of its key, -1 if it has none
--          {"absent", request}
--
-- Why Lua: read apart, the life could be that of the tombstone that the record became in between.
local record, request = KEYS[1], ARGV[1]

local value = redis.call('GET', record)
if not value then return {'absent', request} end
return {'row', request, value, redis.call('PTTL', record)}
