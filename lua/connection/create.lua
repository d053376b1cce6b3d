#!lua
-- create: a connection that has no credential yet.
--
-- KEYS[1]  conn      HASH  {xx}:conn:<id>
-- KEYS[2]  owned     ZSET  {xx}:owner:<digest of owner>, ids by creation
-- ARGV[1]  request   32 hex, digest of the request id, for the echo
-- ARGV[2]  id        the connection
-- ARGV[3]  owner     32 hex, digest of the owner
-- ARGV[4]  connector slug
-- ARGV[5]  reason    why it needs its owner
--
-- Returns  {"created", request}   also if it is there already, or was deleted a moment ago
--          {"foreign", request}   another owner's or connector's; nothing written
--
-- Why Lua: the record and the index change together. The id is the receipt: nobody else has it.
-- Not allow-oom: on a full Redis nothing new starts.
local conn, owned = KEYS[1], KEYS[2]
local request, id, owner, connector, reason = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local was = redis.call('HMGET', conn, 'owner', 'connector', 'status', 'deleted')
redis.call('ZSCORE', owned, id)
if was[1] or was[3] then
  if was[1] ~= owner or was[2] ~= connector then return {'foreign', request} end
  return {'created', request}
end
if was[4] then return {'created', request} end

local time = redis.call('TIME')
local stamp = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('ZADD', owned, 'NX', stamp, id)
redis.call('HSET', conn, 'v', 1, 'status', 'needs_reauth', 'reason', reason, 'status_at', stamp,
  'owner', owner, 'connector', connector, 'grant', 0, 'ver', 0, 'attempts', 0,
  'created_at', stamp, 'updated_at', stamp)
return {'created', request}
