#!lua flags=allow-oom
-- resume: a provider that was paused is asked again by everybody.
--
-- KEYS[1]  pause     HASH    {xx}:pause:<connector>
-- ARGV[1]  request   32 hex, digest of the request id
-- ARGV[2]  grace     ms the receipt lives
--
-- Returns  {"resumed", request}   also on a retry
--          {"running", request}   it was not paused
--
-- Why Lua: many calls succeed at once, and one of them is the transition.
local pause, request, grace = KEYS[1], ARGV[1], ARGV[2]

local was = redis.call('HMGET', pause, 'until_at', 'resumed')
if was[2] == request then return {'resumed', request} end
if not was[1] then return {'running', request} end
redis.call('HSET', pause, 'resumed', request)
redis.call('HDEL', pause, 'until_at', 'times', 'by', 'reason', 'since_at', 'probe', 'probe_ends_at')
redis.call('PEXPIRE', pause, grace)
return {'resumed', request}
