#!lua flags=allow-oom
-- unlist: take the id of a connection that is not there off its owner's list.
--
-- KEYS[1]  conn      HASH  {xx}:conn:<id>
-- KEYS[2]  owned     ZSET  {xx}:owner:<digest of owner>, ids by creation
-- ARGV[1]  request   32 hex, for the echo
-- ARGV[2]  id        the connection
--
-- Returns  {"unlisted", request}
--          {"left", request}       it is there
--
-- Why Lua: it may have been stored since somebody saw that it is not there.
local conn, owned = KEYS[1], KEYS[2]
local request, id = ARGV[1], ARGV[2]

local was = redis.call('HMGET', conn, 'owner', 'status')
redis.call('ZSCORE', owned, id)
if was[1] or was[2] then return {'left', request} end
redis.call('ZREM', owned, id)
return {'unlisted', request}
