#!lua flags=allow-oom
-- close: remove a group from the outbox of a shard, and the outbox with the last of them.
--
-- KEYS[1]  outbox    STREAM  {xx}:outbox
-- ARGV[1]  request   16 bytes, for the echo
-- ARGV[2]  group     a-z, 0-9 and -
--
-- Returns  {"closed", request}
--
-- Why Lua: without a group nobody would ever trim what is left.
local outbox, request, group = KEYS[1], ARGV[1], ARGV[2]

if redis.call('EXISTS', outbox) == 1 then
  redis.call('XGROUP', 'DESTROY', outbox, group)
  if #redis.call('XINFO', 'GROUPS', outbox) == 0 then redis.call('UNLINK', outbox) end
end
return {'closed', request}
