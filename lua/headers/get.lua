#!lua flags=no-writes
-- get: the header credential of a binding.
--
-- KEYS[1]  binding   STRING  {xx}:binding:<digest>, an id
-- ARGV[1]  request   32 hex, for the echo
--
-- Returns  {"row", request, id, {field, …}}   all empty if it was removed
--          {"absent", request}
--
-- Why Lua: the record is found by what the binding holds, in one round trip.
local binding, request = KEYS[1], ARGV[1]

local id = redis.call('GET', binding)
if not id then return {'absent', request} end
local record = binding:match('^(.*:{%x%x}:)') .. 'headers:' .. id
return {'row', request, id, redis.call('HMGET', record, 'status', 'reason', 'status_at', 'was',
  'mode', 'identity', 'client', 'name', 'binding', 'created_at', 'updated_at', 'ver', 'secret')}
