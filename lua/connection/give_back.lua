#!lua flags=allow-oom
-- give_back: a claimed connection that was not begun is due again, at once or in a while.
--
-- KEYS[1]  conn      HASH  {xx}:conn:<id>
-- KEYS[2]  due       ZSET  {xx}:due, ids by next_at
-- ARGV[1]  request   32 hex, digest of the request id
-- ARGV[2]  id        the connection
-- ARGV[3]  wait      ms until it is due; what is on record stays
--
-- Returns  {"given_back", request}   due again
--          {"left", request}         begun by somebody, gone, or not due before: left as it is
--
-- Why Lua: it must not disturb a lease that somebody took meanwhile.
local conn, due = KEYS[1], KEYS[2]
local request, id, wait = ARGV[1], ARGV[2], tonumber(ARGV[3])

local was = redis.call('HMGET', conn, 'next_at', 'lease_ends_at')
local hidden = redis.call('ZSCORE', due, id)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local leased = (tonumber(was[2]) or 0) > now
if not tonumber(was[1]) or not hidden or leased then return {'left', request} end
local due_at = was[1]
if wait > 0 then due_at = string.format('%d', math.max(due_at, now + wait)) end
redis.call('ZADD', due, due_at, id)
return {'given_back', request}
