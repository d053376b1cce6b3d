#!lua flags=allow-oom
-- release: a call is over, or was not made after all.
--
-- KEYS[1]  places    ZSET    {xx}:places:<connector>, holders by the end of their lease
-- KEYS[2]  limit     ZSET    {xx}:limit:<connector>, `next` and `line`, by time
-- KEYS[3]  pause     HASH    {xx}:pause:<connector>
-- ARGV[1]  request   32 hex, the holder
-- ARGV[2]  apart     us that the call is taken back for; 0: it was made
-- ARGV[3]  unmade    1: it was not made, so it proves nothing about a pause; 0: it was
--
-- Returns  {"released", request}
--          {"left", request}   the lease is over, or it was released before
--
-- Why Lua: what was not used is taken back once, by whoever has it.
local places, limit, pause = KEYS[1], KEYS[2], KEYS[3]
local request, apart, unmade = ARGV[1], tonumber(ARGV[2]) / 1000, ARGV[3] == '1'
-- include: rights/must

local time = redis.call('TIME')
local mine = tonumber(redis.call('ZSCORE', places, request)) or 0
local next_at = tonumber(redis.call('ZSCORE', limit, 'next'))
local probe = redis.call('HGET', pause, 'probe')
must_be_allowed('ZREM', places)
must_be_allowed('ZADD', limit)
if unmade and probe == request then redis.call('HDEL', pause, 'probe', 'probe_ends_at') end
-- Past its lease it may be there or not, as others' leases have it: it is over.
if mine <= time[1] * 1000 + time[2] / 1000 then return {'left', request} end
redis.call('ZREM', places, request)
if next_at and apart > 0 then
  redis.call('ZADD', limit, string.format('%.3f', next_at - apart), 'next')
end
return {'released', request}
