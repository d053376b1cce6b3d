#!lua flags=allow-oom
-- renew: prolong a lease that is still its holder's, even if it ran out and nobody took it.
--
-- KEYS[1]  conn      HASH  {xx}:conn:<id>
-- KEYS[2]  due       ZSET  {xx}:due, ids by next_at
-- ARGV[1]  request   32 hex, the holder
-- ARGV[2]  id        the connection
-- ARGV[3]  lease     ms from now
--
-- Returns  {"renewed", request}
--          {"lost", request}    another holder's, or nobody's
--          {"absent", request}
--
-- Why Lua: prolonging somebody else's lease by a check that is a moment old is the classic mistake.
local conn, due = KEYS[1], KEYS[2]
local request, id, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])

local was = redis.call('HMGET', conn, 'status', 'lease')
redis.call('ZSCORE', due, id)
if not was[1] then return {'absent', request} end
if was[2] ~= request then return {'lost', request} end

local time = redis.call('TIME')
local ends = string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000) + lease)
redis.call('HSET', conn, 'lease_ends_at', ends)
redis.call('ZADD', due, 'XX', ends, id)
return {'renewed', request}
