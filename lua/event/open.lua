#!lua
-- open: register a group in the outbox of a shard.
--
-- KEYS[1]  outbox    STREAM  {xx}:outbox
-- ARGV[1]  request   16 bytes, for the echo
-- ARGV[2]  group     a-z, 0-9 and -
--
-- Returns  {"opened", request}    it begins with what is kept for others
--          {"already", request}   it is there, and goes on where it was
--
-- Why Lua: what was dropped before a group came is not its loss, and must be counted as it is made.
local outbox, request, group = KEYS[1], ARGV[1], ARGV[2]

local dropped = 0
if redis.call('EXISTS', outbox) == 1 then
  for _, found in ipairs(redis.call('XINFO', 'GROUPS', outbox)) do
    if found[2] == group then return {'already', request} end -- the name comes first
  end
  local stream = redis.call('XINFO', 'STREAM', outbox)
  for at = 1, #stream, 2 do
    if stream[at] == 'entries-added' then dropped = dropped + stream[at + 1] end
    if stream[at] == 'length' then dropped = dropped - stream[at + 1] end
  end
end
redis.call('XGROUP', 'CREATE', outbox, group, '0', 'MKSTREAM', 'ENTRIESREAD', dropped)
return {'opened', request}
